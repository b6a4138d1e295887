package report

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"braid/bench/internal/figures"
)

// The size of a plot. The legend has a strip of its own on the right, where it
// can hide no line.
const (
	plotWidth   = 23 * vg.Centimeter
	plotHeight  = 13 * vg.Centimeter
	legendWidth = 4.5 * vg.Centimeter
	margin      = 4 * vg.Millimeter
)

// sans is the font of all text. Readers who lack it have one of the same
// measures by another name.
var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// WriteSVG draws a plot. It has a white background, so that it can be read on a
// page of any colour. A plot with nothing to show is an error.
func WriteSVG(w io.Writer, res *Results, p Plot) error {
	canvas := vgsvg.New(plotWidth, plotHeight)
	if err := drawPlot(draw.New(canvas), res, p); err != nil {
		return err
	}
	svg := new(bytes.Buffer)
	if _, err := canvas.WriteTo(svg); err != nil {
		return err
	}
	text := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	_, err := w.Write(text)
	return err
}

// Drawable reports whether a plot has anything to show.
func Drawable(res *Results, p Plot) bool { return len(lines(res, p)) > 0 }

// drawPlot draws a plot and its legend.
func drawPlot(c draw.Canvas, res *Results, p Plot) error {
	all := lines(res, p)
	if len(all) == 0 {
		return fmt.Errorf("%s: there is nothing to draw", p.File)
	}
	drawing := plot.New()
	drawing.Title.Text = p.Title
	drawing.Title.Padding = margin
	setAxes(drawing, p, all)
	setFonts(drawing)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, gridColor
	grid.Horizontal.Width, grid.Vertical.Width = 0.5, 0.5
	drawing.Add(grid)
	legend := plot.NewLegend()
	legend.TextStyle.Font = font.From(sans, 11)
	legend.Top, legend.Left, legend.ThumbnailWidth = true, true, 11*vg.Millimeter
	legend.Padding = 1.5 * vg.Millimeter
	legend.YPosition = draw.PosCenter
	for _, s := range all {
		line, points, err := plotters(s, p.Axis, styleOf(res, s.stack))
		if err != nil {
			return fmt.Errorf("%s: %w", p.File, err)
		}
		drawing.Add(line, points)
		legend.Add(s.stack, line, points)
	}
	c.SetColor(drawing.BackgroundColor)
	c.Fill(c.Path())
	inner := draw.Crop(c, margin, -margin, margin, -margin)
	drawing.Draw(draw.Crop(inner, 0, -legendWidth, 0, 0))
	legend.Draw(draw.Crop(inner, plotWidth-legendWidth, 0, 0, -12*vg.Millimeter))
	return nil
}

// plotters returns the line of a series and its points.
func plotters(s series, axis Axis, look style) (*plotter.Line, *plotter.Scatter, error) {
	points := make(plotter.XYs, len(s.x))
	for i := range s.x {
		points[i] = plotter.XY{X: place(axis, s.x[i]), Y: s.y[i]}
	}
	return plotterPair(points, look)
}

// plotterPair makes a line and points of the same places.
func plotterPair(points plotter.XYs, look style) (*plotter.Line, *plotter.Scatter, error) {
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, nil, err
	}
	scatter, err := plotter.NewScatter(points)
	if err != nil {
		return nil, nil, err
	}
	line.LineStyle, scatter.GlyphStyle = look.line, look.glyph
	return line, scatter, nil
}

// place is where a value stands on the horizontal axis. Percentiles stand by
// what is beyond them, so that 99 and 99.9 are as far apart as 90 and 99.
func place(axis Axis, x float64) float64 {
	if axis == Latency {
		return 100 / (100 - x)
	}
	return x
}

// setFonts gives all text of a plot the same font.
func setFonts(p *plot.Plot) {
	p.Title.TextStyle.Font = font.From(sans, 14)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font = font.From(sans, 12)
		axis.Tick.Label.Font = font.From(sans, 11)
		axis.Label.Padding = 2 * vg.Millimeter
	}
}

// setAxes names the axes and scales them. All but the speeds against GOMAXPROCS
// go over orders of magnitude.
func setAxes(p *plot.Plot, what Plot, all []series) {
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = plot.ConstantTicks(ticksOf(what.Axis, all))
	low, high := reach(all)
	p.Y.Min, p.Y.Max = low/1.15, high*1.15
	p.Y.Tick.Marker = plot.TickerFunc(decades)
	switch what.Axis {
	case Callers:
		p.X.Label.Text, p.Y.Label.Text = "callers at once", "calls a second"
		if what.Cells[0].Work == Connections {
			p.X.Label.Text = "connections"
		}
	case Sizes:
		p.X.Label.Text, p.Y.Label.Text = "size of a message", "payload, MB/s"
	case Procs:
		p.X.Label.Text, p.Y.Label.Text = "GOMAXPROCS", "speed, relative to GOMAXPROCS=1"
		p.Y.Scale, p.Y.Tick.Marker = plot.LinearScale{}, plot.DefaultTicks{}
		p.Y.Min, p.Y.Max = 0, high*1.1
	case Latency:
		p.X.Label.Text, p.Y.Label.Text = "percentile of calls", "latency, microseconds"
	}
}

// reach returns the smallest and the largest value.
func reach(all []series) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, s := range all {
		for _, y := range s.y {
			low, high = min(low, y), max(high, y)
		}
	}
	return low, high
}

// ticksOf marks every place on the horizontal axis where something was measured.
func ticksOf(axis Axis, all []series) []plot.Tick {
	seen := make(map[float64]bool)
	var ticks []plot.Tick
	for _, s := range all {
		for _, x := range s.x {
			if seen[x] {
				continue
			}
			seen[x] = true
			label := grouped(fmt.Sprintf("%.0f", x))
			switch axis {
			case Sizes:
				label = figures.SizeName(int(x))
			case Latency:
				label = fmt.Sprintf("p%v", x)
			}
			ticks = append(ticks, plot.Tick{Value: place(axis, x), Label: label})
		}
	}
	return ticks
}

// decades marks each power of ten, with a label also at 2 and 5 of it if there is
// room for that.
func decades(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	dense := high/low < 1e4
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for digit := 1.0; digit < 10; digit++ {
			value := digit * power
			if value < low || value > high {
				continue
			}
			tick := plot.Tick{Value: value}
			if digit == 1 || dense && (digit == 2 || digit == 5) {
				tick.Label = shortNumber(value)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// shortNumber writes a round number with a letter for thousands and millions.
func shortNumber(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
