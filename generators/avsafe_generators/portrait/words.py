"""The closed vocabulary of the ``portrait`` generator: words of five languages -> concepts.

A line of ``_TABLE`` is ``kind value: words``; an entry with ``_`` is two or three words in a row.
Words are compared without accents and in lower case.
"""

from __future__ import annotations

import re
from functools import cache

from avsafe_generators.text import plain

_TABLE = """
sex woman: woman women lady female donna donne signora femme frau mujer girlfriend wife mother
sex man: man men gentleman male guy uomo uomini signore homme mann hombre husband father
sex person: person people human someone adult_person persona personne mensch face_of_a_person
sex woman-old: grandmother granny nonna grossmutter abuela
sex man-old: grandfather grandpa nonno grossvater abuelo
age young adult: young youthful giovane jeune jung junge junger joven twenties young_adult
age adult: adult middle_aged mature adulto adulta adulte erwachsen erwachsene adulta thirties
  forties
  mezza_eta
age old: old elderly aged senior anziano anziana vecchio vecchia vieux vieille agee alt alte alter
  viejo vieja mayor anciano anciana sixties seventies eighties
size short: short corto corti corta corte court courts courte kurz kurze kurzen cortos
size long: long lungo lunghi lunga lunghe longs longue langes lange langen largo
curl curly: curly curls ricci riccio riccia frises boucles lockig lockige lockigen rizado rizados
curl wavy: wavy waves ondulato ondulati mosso mossi ondules wellig wellige ondulado ondulados
curl straight: straight lisci liscio liscia lisses glatt glatte glatten liso lisos
hair bald: bald hairless shaven_head shaved_head calvo calva pelato pelata chauve kahl glatze
hair receding: receding balding stempiato stempiata
hair buzz: buzz buzzcut crewcut buzz_cut rasati
hair bob: bob caschetto
hair bun: bun chignon updo crocchia moño dutt
hair ponytail: ponytail ponytails pony_tail coda_di_cavallo pferdeschwanz
hair fringe: fringe bangs frangia frangetta pony flequillo frange
hair afro: afro
hair quiff: quiff pompadour slicked ciuffo
hair side: side_part parting parted riga
haired blond: blonde blond bionda biondo blondine rubia rubio
haired red: redhead redheaded ginger rossa_di_capelli pelirroja pelirrojo rousse
haired dark brown: brunette bruna bruno mora moro castana castano
noun hair: hair haired haaren capelli cheveux haare haar pelo cabello hairstyle
noun eyes: eyes eye eyed occhi occhio yeux augen ojos iris
noun beard: beard bearded barba barbuto barbe bart bartig barbudo
noun moustache: moustache mustache baffi moustaches schnurrbart bigote
noun goatee: goatee pizzetto bouc perilla
noun stubble: stubble stubbly unshaven barba_incolta dreitagebart
noun skin: skin skinned complexion pelle carnagione peau haut piel
noun glasses: glasses spectacles eyeglasses specs occhiali lunettes brille gafas anteojos
noun sunglasses: sunglasses shades occhiali_da_sole lunettes_de_soleil sonnenbrille gafas_de_sol
noun beanie: beanie hat cap berretto cappello bonnet chapeau mutze gorro
noun headscarf: headscarf hijab veil foulard velo kopftuch
noun crew: tshirt t_shirt tee jumper sweater pullover maglietta maglione sweatshirt pull
noun shirt: shirt blouse polo camicia camicetta chemise hemd bluse camisa blusa collar
noun v-neck: v_neck vneck cardigan dress vestito robe kleid
noun turtleneck: turtleneck polo_neck roll_neck dolcevita rollkragen
noun suit: suit jacket blazer giacca completo veste anzug jacke traje chaqueta costume
noun clothes: clothes clothing outfit vestiti abiti vetements kleidung ropa top
noun background: background backdrop wall sfondo parete fondo fond hintergrund wand
noun lips: lips lipstick rossetto labbra
trait freckles: freckles freckled lentiggini taches_de_rousseur sommersprossen pecas
trait makeup: makeup make_up trucco truccata
shape round: round rotondi tondi rondes rund runde runden redondas
shape square: square rectangular quadrati rettangolari carrees eckig cuadradas
expression smile: smiling smile smiles happy cheerful friendly sorridente sorride sorriso felice
  souriant souriante lachelnd lachelt sonriente sonrie joyful
expression serious: serious stern severe frowning grave serio seria serieux serieuse ernst angry
expression neutral: neutral calm neutra neutro neutre relaxed ruhig calmo calma tranquillo
color red: red rosso rossa rossi rosse rouge rouges rot rote roten roter rotes rojo roja rojos rojas
  auburn_red crimson
color green: green verde verdi vert verts verte vertes grun grune grunen grunes verdes emerald
color blue: blue azzurri azzurro azzurra blu bleu bleus bleue bleues blau blaue blauen blaues azul
  azules
color navy: navy
color yellow: yellow giallo gialla gialli gialle jaune gelb gelbe gelbes amarillo amarilla
color orange: orange arancione naranja
color purple: purple violet viola lila violett morado morada
color pink: pink rosa rose
color white: white bianco bianca bianchi bianche blanc blancs blanche weiss weisse weissen weisses
  blanco blanca
color black: black nero nera neri nere noir noirs noire schwarz schwarze schwarzen schwarzes negro
  negra negros
color gray: gray grey grigio grigia grigi gris grise grau graue grauen grauem canoso silver
color brown: brown marrone marroni castani brun bruns marron braun braune braunen braunes marrones
color cyan: cyan teal turquoise turchese
color beige: beige cream crema sand
color blond: biondi blonds blondes blonde_colored rubios hellblond blonden blonder golden
color auburn: auburn ramati chestnut
color hazel: hazel nocciola noisette avellana
color platinum: platinum platino
tone fair: fair pale light chiara chiaro chiari claire clair clairs hell helle hellen clara claros
tone medium: medium olive olivastra mate
tone tan: tan tanned abbronzata bronze bronzee gebraunt
tone dark: dark deep ebony scura scuro scuri fonce foncee dunkel dunkle dunklen oscura oscuro
  oscuros
setting office: office ufficio bureau buro oficina workplace
setting park: park garden forest nature outdoors parco giardino natura parc jardin garten wald
  jardin
  parque trees
setting beach: beach sea seaside spiaggia mare plage mer strand meer playa
setting city: city street urban downtown citta strada ville rue stadt strasse ciudad calle
setting home: home indoors room house living_room casa stanza soggiorno maison chambre wohnung
  zimmer
setting library: library books bookshelf biblioteca bibliotheque bibliothek
setting night: night stars notte nuit nacht noche
setting studio: studio plain
light soft: soft_light softly_lit luce_morbida natural_light daylight
light warm: warm warm_light candlelight luce_calda candela lumiere_chaude kerzenlicht
light cool: cool cool_light cold_light luce_fredda
light dramatic: dramatic moody cinematic drammatica chiaroscuro low_key
light golden: sunset golden_hour tramonto sunrise alba coucher_de_soleil sonnenuntergang atardecer
light neon: neon cyberpunk
light bright: bright high_key luminoso luminosa
turn frontal: frontal facing front straight_on frontale frente
turn left: left sinistra gauche links izquierda
turn right: right destra droite rechts derecha
"""

# Children are never drawn. "girl" and its like may mean an adult, and are refused all the same.
CHILDREN = frozenset(
    """
    child children childlike kid kids boy boys girl girls baby babies infant infants toddler
    toddlers teen teens
    teenager teenagers teenage adolescent adolescents minor minors schoolgirl schoolboy newborn
    preteen tween loli shota underage youngster bambino bambina bambini bambine neonato neonata
    ragazzino ragazzina ragazzo ragazza ragazzi ragazze adolescente adolescenti minorenne minorenni
    fanciulla fanciullo bimbo bimba enfant enfants garcon garcons fille filles fillette bebe ado
    ados
    mineur mineure kind kinder junge_kind madchen bube knabe saugling jugendliche jugendlicher nino
    nina ninos ninas chico chica chicos chicas muchacho muchacha menor menores son daughter
    figlio figlia sohn tochter pupil
    """.split()  # noqa: SIM905  a block of words reads better than a list
)
YEARS = frozenset(
    (
        "year",
        "years",
        "yo",
        "anni",
        "anno",
        "ans",
        "an",
        "jahre",
        "jahrige",
        "jahriger",
        "anos",
        "aged",
    )
)
# Words of structure: neither understood nor ignored.
STOP_WORDS = frozenset(
    """
    a an the this that of in on at to by for from with it its is are be and or wearing wears has
    having in front behind portrait portraits headshot head face photo picture image painting
    drawing render illustration 3d generate create draw make show please me my your very some
    style colored coloured colour color un una uno il lo la gli le i di del della dello dei con e ed
    che ha porta indossa ritratto viso volto su al alla allo nel nella da per foto immagine des du
    de d les l et avec qui portant visage dans sur eine ein einen einem einer der die das den dem
    mit
    und gesicht im vor bild retrato de el los las y que lleva cara light_ luce years year anni old_
    shoulders who her his their looking looks camera shot close up closeup closed mouth lit lighting
    light licht lumiere luz expression hour
    """.split()  # noqa: SIM905
)
JOINERS = frozenset(
    (
        "and",
        "e",
        "ed",
        "et",
        "und",
        "y",
        "with",
        "con",
        "avec",
        "mit",
        "in",
        "on",
        ",",
        ";",
        ".",
        "wearing",
    )
)
NEGATIONS = frozenset(
    ("no", "not", "without", "senza", "non", "sin", "sans", "ohne", "kein", "keine")
)
EXAMPLES = (
    '"a smiling young woman with long red hair, green eyes and freckles, blue shirt", '
    '"un uomo anziano con barba bianca e occhiali", "a bald man with dark skin in a suit, office"'
)


def tokens(text: str) -> list[str]:
    """Words, numbers and the punctuation that parts clauses.

    >>> tokens("Blue-eyed woman, 40")
    ['blue', 'eyed', 'woman', ',', '40']
    """
    return re.findall(r"[^\W\d_]+|\d+|[,;.]", plain(text))


@cache
def lookup() -> dict[tuple[str, ...], tuple[str, str]]:
    """Every known word or row of words -> (kind, value)."""
    table: dict[tuple[str, ...], tuple[str, str]] = {}
    for line in _TABLE.replace("\n  ", " ").strip().splitlines():
        head, _, body = line.partition(":")
        kind, _, value = head.partition(" ")
        for word in body.split():
            table.setdefault(tuple(plain(word).split("_")), (kind, value))
    return table


@cache
def concepts() -> tuple[tuple[str, str], ...]:
    """All that can be asked for, sorted."""
    return tuple(sorted(set(lookup().values())))
