package report

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// style is how a stack looks in all plots.
type style struct {
	line  draw.LineStyle
	glyph draw.GlyphStyle
}

// gridColor is that of the lines behind everything.
var gridColor = color.Gray{Y: 215}

// The colours that people with any kind of sight tell apart best come first
// (Okabe and Ito), and the yellow of them is left out: it is hard to see on
// white.
var colors = []color.Color{
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}, // vermilion
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, // blue
	color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff}, // sky
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff}, // green
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff}, // pink
	color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff}, // orange
	color.RGBA{R: 0x6a, G: 0x3d, B: 0x9a, A: 0xff}, // violet
	color.RGBA{R: 0x8c, G: 0x51, B: 0x0a, A: 0xff}, // brown
	color.RGBA{R: 0x3b, G: 0x3b, B: 0x3b, A: 0xff}, // dark
}

// dashes are the ways to draw a line, of which the plain one is left to braid.
var dashes = [][]vg.Length{
	{6, 2},
	{2, 2},
	{8, 2, 2, 2},
	{4, 2},
	{10, 3},
	{1, 2},
	{6, 2, 2, 2, 2, 2},
	{3, 3},
}

// shapes are what marks a point.
var shapes = []draw.GlyphDrawer{
	draw.SquareGlyph{},
	draw.PyramidGlyph{},
	draw.RingGlyph{},
	draw.CrossGlyph{},
	draw.TriangleGlyph{},
	draw.PlusGlyph{},
	draw.BoxGlyph{},
}

// styleOf returns how a stack looks, which depends on its place among all of
// them and not on which are in a plot. braid stands out; the floor is a grey
// that stays behind.
func styleOf(res *Results, stack string) style {
	switch stack {
	case Base:
		return styleWith(colors[0], nil, draw.CircleGlyph{}, 2.4)
	case floorStack:
		return styleWith(color.Gray{Y: 150}, []vg.Length{1, 2}, draw.CircleGlyph{}, 1.4)
	}
	place := 0
	for _, s := range res.Stacks {
		if s.Name == stack {
			break
		}
		if s.Name != Base && s.Name != floorStack {
			place++
		}
	}
	return styleWith(colors[1+place%(len(colors)-1)], dashes[place%len(dashes)], shapes[place%len(shapes)], 1.4)
}

// styleWith puts a style together.
func styleWith(c color.Color, dash []vg.Length, shape draw.GlyphDrawer, width vg.Length) style {
	return style{
		line:  draw.LineStyle{Color: c, Width: vg.Points(width.Points()), Dashes: dash},
		glyph: draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: shape},
	}
}
