"""The closed vocabulary of the ``world`` generator: words of five languages -> concepts.

A line of ``_TABLE`` is ``kind value: words``, an indented one goes on with it; ``on_top_of`` is
three words in a row. A word may carry an
ending class after ``~``, which stands for the inflections of its language, so that one entry covers
"rosso, rossa, rossi, rosse". Words are compared without accents and in lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from avsafe_generators.text import plain

MAX_COUNT = 6  # more objects than this don't fit side by side in a frame


@dataclass(frozen=True, order=True)
class Concept:
    """What a word means here.

    >>> Concept("color", "red") == lookup()["rouges"]
    True
    """

    kind: str
    value: str


_ENDINGS = {
    "s": ("", "s", "es"),  # English and Romance plurals
    "o": ("o", "a", "i", "e", "os", "as"),  # Italian and Spanish adjectives and nouns
    "f": ("", "e", "s", "es", "te", "tes", "he", "hes", "che", "ches"),  # French adjectives
    "d": ("", "e", "er", "es", "en", "em"),  # German adjectives
    "n": ("", "e", "n", "en", "er", "ern", "s"),  # German nouns
    "v": ("e", "es", "ing", "ed"),  # English verbs: bounce
    "w": ("", "s", "es", "ing", "ed"),  # English verbs: roll
    "ar": ("are", "ano", "a", "ando", "ante", "anti", "ar", "an", "e", "er", "ent", "ant"),
    "er": ("er", "ent", "ant", "e", "es", "ants", "ante", "antes", "endo", "iendo", "e", "en"),
    "t": ("en", "t", "end", "ende", "ender", "endes", "enden", "et"),  # German verbs
}

_TABLE = """
color red: red~s ross~o roj~o rouge~s rot~d crimson scarlet
color green: green~s verde~s verdi vert~f grun~d emerald lime
color blue: blue~s blu azul~s bleu~f blau~d navy azzurr~o
color yellow: yellow~s giall~o amarill~o jaune~s gelb~d
color orange: orange~s arancione arancioni naranja~s anaranjad~o
color purple: purple violet~f viola morad~o lila violett~d magenta
color pink: pink~s rosa rose~s
color white: white bianc~o bianche bianchi blanc~o blanc~f weiss~d
color black: black ner~o negr~o noir~f schwarz~d
color gray: gray grey grigi~o gris~f grau~d
color brown: brown marron~s marrone braun~d
color cyan: cyan turquoise teal turchese turquesa turkis
material wood: wood wooden legn~o madera bois holz holzern~d timber
material metal: metal metallic metallo metallic~o metal~f metall metallen~d steel iron acciaio
  acero acier stahl ferro hierro fer eisen chrome
material gold: gold golden dorat~o dorad~o dore~f goldene goldener goldenes goldenen
material silver: silver silvery argento argentat~o plata plateado argent argente~f silbern~d
  silber
material copper: copper bronze brass rame cobre cuivre kupfer bronzo laiton
material glass: glass vetro vidrio verre glas glasern~d crystal cristallo cristal kristall
  transparent transparente trasparente
material rubber: rubber gomma caucho goma caoutchouc gummi
material stone: stone stony rock rocky pietra piedra pierre stein granite concrete
material marble: marble marmo marmol marbre marmor
material plastic: plastic plastica plastico plastique plastik
material ice: ice icy ghiaccio hielo glace eis frozen
material clay: clay ceramic porcelain ceramica ceramique keramik
material light: glowing luminous neon shining luminos~o lumineux lumineuse leuchtend~d
pattern striped: striped stripes stripy rigat~o rayad~o raye~f gestreift~d
pattern dotted: dotted spotted dots polka punteggiat~o gepunktet~d
pattern checked: checked checkered chequered checkerboard scacchi cuadros carreaux kariert~d
size tiny: tiny minuscule miniature minuscol~o diminut~o winzig~d
size small: small little piccol~o pequen~o petit~f klein~d
size medium: medium medi~o mittler~d
size big: big large grande~s grandi grand~f gross~d
size huge: huge giant enormous gigantic enorme~s gigante~s geant~f riesig~d enormi giganti
shape ball: ball~s sphere~s globe~s orb~s palla palle pallone sfera sfere bola~s pelota~s esfera~s
  balle~s boule~s ballon~s kugel~n bubble~s
shape cube: cube~s box~s cubo cubi cubos caja~s wurfel~n scatola scatole square~s
shape brick: brick~s block~s mattone mattoni ladrillo~s brique~s ziegel~n klotz
shape pyramid: pyramid~s piramide piramidi piramides pyramide~s pyramiden triangle~s triangolo
  triangoli triangulo~s dreieck~n
shape star: star stella stelle estrella~s etoile~s stern~n
shape ring: ring~s torus donut~s doughnut~s hoop~s anello anelli anillo~s anneau anneaux reifen
shape cylinder: cylinder~s tube~s cilindro cilindri cilindros cylindre~s zylinder~n
shape cone: cone~s cono coni conos kegel~n
shape heart: heart~s cuore cuori corazon corazones coeur~s herz~n herzen
shape diamond: diamond~s gem~s jewel~s octahedron diamante~s diamanti diamant~n gioiello
shape capsule: capsule~s pill~s capsula~s pillola kapsel~n
shape coin: coin~s disc~s disk~s moneta monete moneda~s munze~n scheibe
shape cross: cross~s croce croci cruz cruces croix kreuz~n
shape egg: egg~s uovo uova huevo~s oeuf~s ei eier
shape moon: crescent~s mezzaluna croissant~s halbmond~n
shape nut: nut~s hexagon~s bolt~s dado esagono esagoni hexagono~s tuerca~s ecrou~s sechseck~n
motion left: left leftward leftwards sinistra izquierda gauche links
motion right: right rightward rightwards destra derecha droite rechts
motion up: up upward upwards rising rise~s ascending climbing arriba monter monte hoch
  aufsteigend~d steigt
motion down: down downward downwards descending sinking abajo descend~w hinab runter sinkt
motion bounce: bounc~v bouncy rimbalz~ar rebot~ar rebond~er rebondit rebondir rebondissant hupf~t
  hopsend prallt springend springt springen
motion fall: fall~w drop~w dropping dropped falling cade cadono cadere cadente cae caen caer
  cayendo tombe~s tomb~er fall~t fallt
motion jump: jump~w hop~w hopping leap~w salt~ar saut~er
motion roll: roll~w rotol~ar rued~ar rodando rodar roule~s roul~er roll~t
motion slide: slid~v glid~v scivol~ar desliz~ar glisse~s gliss~er gleit~t rutsch~t
motion spin: spin~w spinning rotat~v turn~w twirl~w whirl~w gir~ar gira girano tourne~s tourn~er
  dreh~t rotier~t rotation ruot~ar
motion orbit: orbit~w circl~v revolv~v orbit~ar umkreis~t kreis~t
motion float: float~w hover~w levitat~v flott~er galleggi~ar galleggia flot~ar schweb~t fluttu~ar
  flying fly flies vol~ar vuela volando fliegt fliegend~d
motion swing: swing~w oscillat~v sway~w dondol~ar oscill~ar schwing~t pendulum pendolo pendulo
  pendule pendel
motion approach: approach~w approaching closer towards avvicina avvicinano acerca acercan approche
  nahert
motion recede: recede receding away lontano lejos loin entfernt
motion grow: grow~w growing crece crecen cresce crescono grandit wachst
motion shrink: shrink~w shrinking encoge rimpicciolisce schrumpft retrecit
motion shake: shak~v trembl~v vibrat~v tremolante tiembla tremble zittert
motion still: still static motionless standing resting rests stands lying ferm~o immobile~s
  quiet~o inmovil~s reglos~d steht ruht
speed fast: fast quick quickly rapid rapidly speedy velocemente veloce~s veloci rapido rapidamente
  rapide~s vite schnell~d
speed slow: slow slowly gentle gently lento lenta lentamente lent~f lentement langsam~d
setting studio: studio backdrop
setting room: room indoors indoor house kitchen stanza habitacion cuarto chambre zimmer floor
  table parquet
setting sky: sky clouds cloud heaven cielo nuvole nubes ciel nuages himmel wolken
setting sea: sea ocean beach shore coast water waves mare spiaggia playa mer plage meer strand
  ocean~s oceano
setting desert: desert dunes dune sahara deserto desierto wuste sand sabbia arena sable
setting grass: grass meadow field lawn garden park prato prado campo pre wiese garten herbe hierba
  erba gras jardin giardino
setting forest: forest woods trees tree jungle foresta bosco bosque foret wald baume alberi
  arboles
setting mountains: mountain~s hills alps montagna montagne montagnes montana~s berg berge bergen
setting snowfield: arctic antarctic winter tundra inverno invierno hiver
setting city: city town street skyline downtown urban citta ciudad ville stadt strasse strada
  calle rue
setting stage: stage theater theatre curtain curtains palcoscenico teatro sipario scene_de_theatre
  rideau rideaux escenario telon buhne vorhang
setting space: space cosmos galaxy universe planet spazio espacio espace weltraum weltall
  moonscape
time day: day daylight daytime sunny sun noon giorno sole dia sol jour soleil tag sonne sonnig~d
time sunset: sunset dusk evening tramonto sera atardecer coucher crepuscule sonnenuntergang abend
time dawn: dawn sunrise morning alba mattina amanecer aube matin sonnenaufgang morgen
time night: night nighttime midnight moonlight moonlit moon moons notte noche nuit nacht luna lune
  mond
weather rain: rain raining rainy drizzle storm stormy pioggia piove lluvia llueve pluie pleut
  regen regnet
weather snow: snow snowing snowy snowfall blizzard neve nevica nieve nieva neige schnee schneit
weather stars: stars starry stellat~o estrellad~o sternenhimmel
weather fog: fog foggy mist misty haze hazy nebbia niebla brouillard nebel
camera pan-left: panleft
camera pan-right: panright
camera zoom-in: zoom zooms zooming zoomt
camera zoom-out: zoomout
camera tilt-up: tilt_up tilts_up tilting_up
camera tilt-down: tilt_down tilts_down tilting_down
camera shake: handheld hand_held shaky mano_libre camera_a_mano handkamera wackelig
count 1: one 1 einzeln~d
count 2: two 2 pair couple due dos deux zwei duo
count 3: three 3 several few tre tres trois drei alcuni varios plusieurs einige
count 4: four 4 many quattro cuatro quatre vier viele molti muchos
count 5: five 5 cinque cinco cinq funf
count 6: six 6 sei seis sechs
relation hit: hit hits hitting strik~v struck collid~v bump~w crash~w knock~w ram rams ramming
  smash~w
  colpisce colpiscono colpendo urta urtano urtando scontra scontrano sbatte tampona frappe frappent
  heurte heurtent percute percutent cogne golpea golpean golpeando choca chocan chocando colisiona
  impacta trifft stosst kollidiert kollidieren rammt rammen
relation chase: chas~v follow~w pursu~v insegue inseguono inseguendo segue seguono seguendo poursuit
  poursuivent suit suivent persigue persiguen persiguiendo sigue siguen verfolgt verfolgen folgt
  folgen jagt jagen
relation push: push~w shov~v nudg~v spinge spingono spingendo pousse poussent empuja empujan
  empujando schiebt schieben
relation stack: on_top_of atop stacked stack stacks stacking piled pile tower in_cima_a in_cima_al
  in_cima_alla in_cima_allo impilat~o encima_de encima_del apilad~o empile~f empilees gestapelt~d
  oben_auf turm
relation around: around_a around_an around_the around_another around_one intorno_a intorno_al
  intorno_alla intorno_allo attorno_a attorno_al attorno_alla attorno_allo autour_de autour_du
  autour_d alrededor_de alrededor_del um_einen um_eine um_ein um_den um_das
relation beside: next_to beside alongside accanto_a accanto_al accanto_alla accanto_allo vicino_a
  vicino_al vicino_alla a_cote_de a_cote_du a_cote_d al_lado_de al_lado_del junto_a junto_al neben
relation leftof: left_of a_sinistra_di a_sinistra_del a_sinistra_della a_gauche_de a_gauche_du
  a_gauche_d a_la_izquierda_de a_la_izquierda_del links_von links_vom
relation rightof: right_of a_destra_di a_destra_del a_destra_della a_droite_de a_droite_du
  a_droite_d a_la_derecha_de a_la_derecha_del rechts_von rechts_vom
relation behind: behind dietro derriere detras_de detras_del hinter
relation front: in_front_of davanti_a davanti_al davanti_alla davanti_allo devant delante_de
  delante_del vor
light spot: spotlight~s spotlit faretto riflettore riflettori projecteur~s foco~s scheinwerfer
light warm: warm_light warm_lighting warm_lights candlelight candlelit candle_light luce_calda
  lume_di_candela lumiere_chaude luz_calida warmes_licht kerzenlicht
light golden: golden_light golden_hour golden_lighting luce_dorata lumiere_doree luz_dorada
  goldenes_licht
light neon: neon_light neon_lights neon_lighting neon_glow luce_al_neon luci_al_neon neons
  luz_de_neon neonlicht
light back: backlight backlit backlighting back_light controluce contre_jour contraluz gegenlicht
tone light: light pale bright chiar~o clar~o clair~f helle heller helles hellen
tone dark: dark deep scur~o oscur~o sombre~s fonce~f dunkel dunkl~d buio
sound music: music musical melody melodic musica musique musik
"""

# Words of structure: they carry no content, so they are neither understood nor ignored.
STOP_WORDS = frozenset(
    """
    a an the this that these those and or of in on at to into onto over under above below by for
    from with it its is are be being as while where there then than very quite scene video clip
    image picture photo film show shows showing make create generate render draw please me my your
    i we some background shot against moving moves move moved going goes go motion object objects
    all both each other another un une uno una unos unas vers hacia verso il lo la gli le i el
    los las les l d
    du des de del della dello dei degli delle di e ed y et und o ou oder con avec mit su sur sul
    sulla nel nella nello en dans im in auf an am zu zum ein eine einen einem einer der die das
    den dem che que qui ist sind es est son sono y a al alla allo aux da dal dalla von vom desde
    mientras mentre pendant wahrend sfondo fondo fond hintergrund se si sich s t across around
    through toward scena escena muove mueve bewegt aus fatto fatta hecho hecha fait faite gemacht
    """.split()  # noqa: SIM905  a block of words reads better than a list
)
JOINERS = frozenset(("and", "e", "ed", "y", "et", "und", ",", ";", "."))
NEGATIONS = frozenset(
    ("no", "not", "without", "senza", "non", "sin", "sans", "pas", "ohne", "kein", "keine")
)
FROM = frozenset(("from", "da", "dalla", "desde", "von"))
PLACED = frozenset(("on", "at"))
BACKGROUND = frozenset(("background", "backdrop", "sfondo", "fondo", "fond", "hintergrund"))
CAMERA = frozenset(
    ("pan", "pans", "panning", "camera", "kamera", "panorama", "tilt", "tilts", "tilting")
)
STAR_PLURALS = frozenset(("stars", "stelle", "estrellas", "etoiles", "sterne"))
MOONS = frozenset(("moon", "moons", "luna", "lune", "mond"))
OUT = frozenset(("out", "fuori", "fuera", "heraus"))
EXAMPLES = (
    "a red ball, two glass cubes, a wooden star, bouncing, rolling left, spinning, by the sea, "
    "at night, rain; a ball hits a cube, a star on top of a box, spotlight"
)


def tokens(text: str) -> list[str]:
    """Words, digits and the punctuation that parts clauses.

    >>> tokens("A red-ish ball, 2 cubes!")
    ['a', 'red', 'ish', 'ball', ',', '2', 'cubes']
    >>> tokens("a ball on top of a cube")  # a row of the table is one word
    ['a', 'ball', 'on top of', 'a', 'cube']
    """
    found = re.findall(r"[^\W\d_]+|\d+|[,;.]", plain(text))
    rows, out, at = _rows(), list[str](), 0
    while at < len(found):
        row = next((r for r in rows.get(found[at], ()) if found[at : at + len(r)] == r), None)
        out.append(" ".join(row) if row else found[at])
        at += len(row) if row else 1
    return out


@cache
def _rows() -> dict[str, list[list[str]]]:
    """Entries of several words by their first word, the longest first; they are read as one."""
    found = sorted((w.split() for w in lookup() if " " in w), key=lambda row: (-len(row), row))
    table: dict[str, list[list[str]]] = {}
    for row in found:
        table.setdefault(row[0], []).append(row)
    return table


def _inflect(entry: str) -> list[str]:
    stem, _, ending = entry.partition("~")
    stem = stem.replace("_", " ")
    return [stem + suffix for suffix in _ENDINGS[ending]] if ending else [stem]


@cache
def lookup() -> dict[str, Concept]:
    """Every known word form -> its concept. An earlier line of the table wins over a later one,
    and a word written out wins over one made from an ending."""
    entries: list[tuple[str, Concept]] = []
    for line in _TABLE.replace("\n  ", " ").strip().splitlines():
        head, _, body = line.partition(":")
        kind, value = head.split()
        entries += [(word, Concept(kind, value)) for word in body.split()]
    table: dict[str, Concept] = {}
    for word, concept in [e for e in entries if "~" not in e[0]] + [
        e for e in entries if "~" in e[0]
    ]:
        for form in _inflect(word):
            table.setdefault(form, concept)
    return table


@cache
def concepts() -> tuple[Concept, ...]:
    """All that can be asked for, sorted."""
    return tuple(sorted(set(lookup().values())))
