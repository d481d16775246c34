"""Human votes: pairs of clips, one winner with reasons, blinded and balanced; docs/bench-votes.md.

    make(out, systems, *, texts, clusters, criteria=("quality", "faithfulness"), raters=3, votes=3,
         items=None, repeats=0.1, checks=2, seed=None) -> counts and warnings
        ``systems`` is name -> item -> clip. Writes out/ballot (page and clips) and out/key.json.
        Command: avsafe bench vote make --out DIR NAME=DIR NAME=DIR… [--suite SUITE]
        [--criterion NAME]… [--raters N] [--votes N] [--items N] [--repeats SHARE] [--checks N]
        [--seed TEXT]; ``folders`` reads NAME=DIR, the suite gives texts and clusters by item.

    serve(out, *, port=0) -> ThreadingHTTPServer
        Command: avsafe bench vote serve DIR [--port N]; prints http://127.0.0.1:PORT/?rater=1.
        Votes go to out/votes.jsonl. Without a server, open out/ballot/index.html and save the file.

    write_tally(out, votes=(), *, min_checks=0.8, seed=0, report=None) -> tally
        Command: avsafe bench vote tally DIR [VOTES.jsonl…] [--min-checks SHARE] [--report RUN];
        without files, out/votes.jsonl. Writes out/votes.json, and into the run folder ``report``
        too, whose page then has a section. ``as_text(tally)`` is for the terminal.

Names are loaded when they are used: serving and counting need neither decoder nor encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe import lazy

if TYPE_CHECKING:
    from avsafe.bench.votes.agreement import fleiss_kappa as fleiss_kappa
    from avsafe.bench.votes.agreement import krippendorff_alpha as krippendorff_alpha
    from avsafe.bench.votes.ballot import Check as Check
    from avsafe.bench.votes.ballot import Plan as Plan
    from avsafe.bench.votes.ballot import plan as plan
    from avsafe.bench.votes.counting import as_text as as_text
    from avsafe.bench.votes.counting import write_tally as write_tally
    from avsafe.bench.votes.criteria import CRITERIA as CRITERIA
    from avsafe.bench.votes.making import folders as folders
    from avsafe.bench.votes.making import make as make
    from avsafe.bench.votes.serving import serve as serve
    from avsafe.bench.votes.tally import read_votes as read_votes

_HOME_OF = {
    "CRITERIA": "criteria",
    "Check": "ballot",
    "Plan": "ballot",
    "as_text": "counting",
    "fleiss_kappa": "agreement",
    "folders": "making",
    "krippendorff_alpha": "agreement",
    "make": "making",
    "plan": "ballot",
    "read_votes": "tally",
    "serve": "serving",
    "write_tally": "counting",
}
__all__ = sorted(_HOME_OF)
__getattr__ = lazy.names(__name__, _HOME_OF)
