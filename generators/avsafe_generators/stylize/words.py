"""Words of a prompt -> a style. English and Italian."""

from __future__ import annotations

from avsafe_generators.cinemagraph import phrases

_TABLE = """
style:watercolor = watercolor, watercolour, watercolors, watercolours, water colour, water color, aquarelle, gouache, acquerello, acquarello, acquerelli, acquarelli
style:oil = oil, oil painting, oil paint, oil painted, painting, painted, paint, painterly, impressionist, impressionism, impressionistic, van gogh, monet, brush strokes, brushstrokes, olio, pittura a olio, dipinto a olio, dipinto, dipinta, pittura, pittorico, impressionista, impressionismo, quadro, pennellate
style:pencil = pencil, pencil sketch, pencil drawing, sketch, sketched, drawing, drawn, graphite, charcoal, matita, disegno a matita, schizzo, schizzi, disegno, disegnato, disegnata, carboncino, grafite
style:comic = comic, comics, comic book, cartoon, cartoons, toon, cel shading, cel shaded, anime, manga, graphic novel, animated, fumetto, fumetti, cartone, cartone animato, cartoni animati
style:poster = poster, posterised, posterized, screen print, screenprint, silkscreen, pop art, warhol, flat colours, flat colors, manifesto, serigrafia, locandina, arte pop
style:pixel = pixel, pixel art, pixels, pixelated, pixelart, 8 bit, 8bit, 16 bit, 16bit, retro game, video game, videogame, videogioco, videogioco retro, pixellato
style:points = points, pointillism, pointillist, pointillistic, dots of paint, seurat, stippling, stippled, puntinismo, puntinista, divisionismo, puntini
style:mosaic = mosaic, mosaics, tiles, tiled, tesserae, stained glass, mosaico, mosaici, tessere, piastrelle, vetrata
style:halftone = halftone, half tone, newspaper, newsprint, printed, print, lichtenstein, ben day dots, retino, mezzatinta, mezzetinte, giornale, stampa, stampato
style:noir = noir, film noir, black and white, black white, monochrome, bw, greyscale, grayscale, bianco e nero, bianco nero, monocromo, monocromatico
style:vintage = vintage, vintage film, old film, film, retro, sepia, super 8, super8, 8mm, faded, nostalgic, analog, analogue, seventies, 1970s, 70s, pellicola, vecchio film, vecchia pellicola, seppia, anni 70, anni settanta, nostalgico, analogico, sbiadito
style:duotone = duotone, two tone, two colours, two colors, bichrome, bicromia, duotono, due colori, due toni
style:thermal = thermal, thermal camera, infrared, heat map, heatmap, heat vision, predator, termico, termica, termocamera, infrarosso, mappa di calore
style:neon = neon, cyberpunk, glow, glowing, glowing edges, synthwave, blacklight, fluo, fluorescente, luminoso, luminosi
style:blueprint = blueprint, technical drawing, cyanotype, plan drawing, progetto, disegno tecnico, cianotipia, cianografica
style:ink = ink, ink drawing, woodcut, linocut, engraving, black ink, etching, inchiostro, china, xilografia, incisione, linoleografia
how:0.5 = subtle, light, lightly, slight, slightly, soft, leggero, leggera, leggermente, tenue, delicato
how:1 = strong, strongly, full, bold, forte, intenso, deciso
flicker: = flicker, flickering, flickers, sfarfallio, tremolio
"""  # noqa: E501  a table

KNOWN = phrases.table(_TABLE)
STYLES = tuple(dict.fromkeys(c.partition(":")[2] for c in KNOWN.values() if c.startswith("style:")))
EXAMPLES = "watercolor, oil painting, pencil sketch, comic, pixel art, black and white"
