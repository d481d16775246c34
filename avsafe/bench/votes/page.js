"use strict";
// Two clips in step, one winner, reasons. Votes go to the server that gave the page, if there is
// one, and always into this browser, from where they can be saved as votes.jsonl.
const ballot = JSON.parse(document.getElementById("ballot").textContent);
const $ = (id) => document.getElementById(id);
const served = location.protocol.startsWith("http");
const sides = ["left", "right"];
const figures = Object.fromEntries(
  [...document.querySelectorAll("figure")].map((figure) => [figure.dataset.side, figure]),
);
const state = { rater: "", at: 0, seq: 0, votes: {}, choice: "", began: 0, seen: {}, heard: "left" };
let clips = {};

// ------------------------------------------------------------------ keeping votes
const place = () => `avsafe ${ballot.ballot} ${state.rater}`;
function keep() {
  try {
    localStorage.setItem(place(), JSON.stringify({ seq: state.seq, votes: state.votes }));
  } catch { /* a browser without storage: votes live until the page is closed */ }
}
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(place()) || "{}");
    state.votes = kept.votes || {};
    state.seq = kept.seq || 0;
  } catch { state.votes = {}; }
}
async function send(vote) {
  if (!served) return;
  try {
    const answer = await fetch("/vote", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(vote),
    });
    vote.sent = answer.ok;
    if (!answer.ok) $("hint").textContent = `Not accepted: ${await answer.text()}`;
  } catch { vote.sent = false; }
  keep();
}
const lines = () => Object.values(state.votes)
  .map(({ sent, ...vote }) => JSON.stringify(vote)).join("\n") + "\n";
function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines()], { type: "application/jsonl" }));
  link.download = `votes-${state.rater}.jsonl`;
  link.click();
}

// ------------------------------------------------------------------ clips in step
function element(name) {
  const kind = name.slice(name.lastIndexOf("."));
  const image = [".png", ".jpg", ".jpeg", ".webp"].includes(kind);
  const sound = [".wav", ".m4a", ".mp3", ".ogg", ".flac"].includes(kind);
  const made = document.createElement(image ? "img" : sound ? "audio" : "video");
  if (!image) Object.assign(made, { preload: "auto", playsInline: true, muted: true });
  if (sound) made.controls = true;
  made.src = `clips/${name}`;
  return made;
}
function show(trial) {
  state.seen = {};
  clips = {};
  for (const side of sides) {
    const made = element(trial[side]);
    clips[side] = made;
    made.addEventListener("error", () => {
      figures[side].querySelector(".stage").innerHTML = "<p>This clip does not play here.</p>";
      state.seen[side] = true;
      refresh();
    });
    if (made.tagName === "IMG") {
      made.alt = `${side} picture`;
      state.seen[side] = true;
    } else {
      made.setAttribute("aria-label", `${side} clip`);
      made.addEventListener("ended", () => { state.seen[side] = true; ended(); refresh(); });
      made.addEventListener("timeupdate", () => follow(side));
    }
    figures[side].querySelector(".stage").replaceChildren(made);
  }
  const sound = ballot.criteria[trial.criterion].sound;
  state.heard = sound ? "left" : "";
  hear();
  restart();
}
const moving = () => sides.map((side) => clips[side]).filter((clip) => clip && clip.tagName !== "IMG");
function restart() {
  for (const clip of moving()) {
    clip.currentTime = 0;
    clip.play().catch(() => { $("hint").textContent = "Press Space to play."; });
  }
  $("toggle").textContent = "Stop";
}
function toggle() {
  const still = moving().every((clip) => clip.paused);
  for (const clip of moving()) still ? clip.play().catch(() => {}) : clip.pause();
  $("toggle").textContent = still ? "Stop" : "Play";
}
function follow(side) {
  const other = clips[side === "left" ? "right" : "left"];
  if (side !== "left" || !other || other.tagName === "IMG" || other.ended || other.paused) return;
  const late = clips.left.currentTime - other.currentTime;
  if (Math.abs(late) > 0.12 && clips.left.currentTime < other.duration) {
    other.currentTime = clips.left.currentTime;
  }
}
function ended() { // both start again together, and the sound moves to the other clip
  if (!moving().every((clip) => clip.ended || clip.error)) return;
  if (state.heard) { state.heard = state.heard === "left" ? "right" : "left"; hear(); }
  restart();
}
function hear() {
  for (const side of sides) {
    if (clips[side]) clips[side].muted = state.heard !== side;
    figures[side].classList.toggle("heard", state.heard === side);
  }
  $("sound").textContent = `Sound: ${state.heard || "off"}`;
}
function moveSound() {
  state.heard = { "": "left", left: "right", right: "" }[state.heard];
  hear();
}

// ------------------------------------------------------------------ one pair after the other
const trials = () => ballot.raters[state.rater];
const chosen = () => [...$("reasons").querySelectorAll("input:checked")].map((box) => box.value);
function open(at) {
  state.at = at;
  if (at >= trials().length) return finish();
  for (const id of ["start", "end"]) $(id).hidden = true;
  $("vote").hidden = false;
  const trial = trials()[at];
  const criterion = ballot.criteria[trial.criterion];
  const old = state.votes[trial.id];
  state.choice = old && old.choice !== "none" ? old.choice : "";
  state.began = performance.now();
  $("question").textContent = criterion.question;
  $("text").hidden = !trial.text;
  $("text").textContent = trial.text;
  $("place").textContent = `${at + 1} of ${trials().length}`;
  $("done").max = trials().length;
  $("done").value = at;
  $("hint").textContent = "";
  const boxes = Object.entries(criterion.reasons).map(([name, words], index) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value: name });
    box.checked = Boolean(old && old.reasons.includes(name));
    box.addEventListener("change", refresh);
    label.append(box, `${index + 1}  ${words}`);
    return label;
  });
  $("reasons").replaceChildren($("reasons").querySelector("legend"), ...boxes);
  show(trial);
  if (old) state.seen = { left: true, right: true };
  refresh();
  $("question").focus();
}
function choose(side) {
  state.choice = side;
  refresh();
}
function refresh() {
  for (const side of sides) {
    figures[side].querySelector(".choose").setAttribute("aria-pressed", String(state.choice === side));
  }
  const seen = sides.every((side) => state.seen[side]);
  const ready = seen && state.choice && chosen().length;
  $("next").disabled = !ready;
  if (!seen) $("hint").textContent = "Watch both to the end once.";
  else if (!state.choice) $("hint").textContent = "Choose one.";
  else if (!chosen().length) $("hint").textContent = "Give a reason.";
  else $("hint").textContent = "";
}
function cast(choice, reasons) {
  const trial = trials()[state.at];
  state.seq += 1;
  const vote = {
    ballot: ballot.ballot, rater: state.rater, trial: trial.id, choice, reasons, seq: state.seq,
    seconds: Math.round((performance.now() - state.began) / 100) / 10,
  };
  state.votes[trial.id] = vote;
  keep();
  send(vote);
  open(state.at + 1);
}
function next() {
  if (!$("next").disabled) cast(state.choice, chosen());
}
async function finish() {
  for (const clip of moving()) clip.pause();
  $("vote").hidden = true;
  $("end").hidden = false;
  if (!served) {
    $("sent").textContent = "Save your votes and send the file to whoever asked you.";
    return;
  }
  for (const vote of Object.values(state.votes).filter((one) => !one.sent)) await send(vote);
  const missing = Object.values(state.votes).filter((one) => !one.sent).length;
  $("sent").textContent = missing
    ? `${missing} votes could not be sent. Save them below and send the file.`
    : "All votes have arrived.";
}

// ------------------------------------------------------------------ controls
for (const rater of Object.keys(ballot.raters)) $("rater").add(new Option(rater, rater));
const wanted = new URLSearchParams(location.search).get("rater");
if (wanted in ballot.raters) $("rater").value = wanted;
$("who").addEventListener("submit", (event) => {
  event.preventDefault();
  state.rater = $("rater").value;
  recall();
  const first = trials().findIndex((trial) => !(trial.id in state.votes));
  open(first < 0 ? trials().length : first);
});
for (const side of sides) {
  figures[side].querySelector(".choose").addEventListener("click", () => choose(side));
}
$("next").addEventListener("click", next);
$("back").addEventListener("click", () => state.at > 0 && open(state.at - 1));
$("review").addEventListener("click", () => open(trials().length - 1));
$("toggle").addEventListener("click", toggle);
$("again").addEventListener("click", restart);
$("sound").addEventListener("click", moveSound);
$("broken").addEventListener("click", () => cast("none", []));
$("save").addEventListener("click", download);
$("download").addEventListener("click", download);
document.addEventListener("keydown", (event) => {
  if ($("vote").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const focused = document.activeElement;
  const onButton = focused && (focused.tagName === "BUTTON" || focused.tagName === "INPUT");
  const keys = {
    ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"),
    Backspace: () => state.at > 0 && open(state.at - 1), r: restart, m: moveSound,
  };
  if (!onButton) Object.assign(keys, { " ": toggle });
  if (!onButton || focused.tagName === "INPUT" || focused.classList.contains("choose")) keys.Enter = next;
  if (/^[1-9]$/.test(event.key)) {
    const box = $("reasons").querySelectorAll("input")[Number(event.key) - 1];
    if (box) { box.checked = !box.checked; refresh(); }
  } else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
$("start").hidden = false;
