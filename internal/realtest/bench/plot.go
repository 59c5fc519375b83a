package main

import (
	"bytes"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// line is one line of each panel, and how it is drawn.
type line struct {
	variant string
	color   color.Color
	dashed  bool
}

// Colours that people with colour blindness tell apart (Okabe and Ito).
var lines = []line{
	{firstSync, color.RGBA{0, 114, 178, 255}, false},
	{firstFloor, color.RGBA{0, 114, 178, 255}, true},
	{changedSync, color.RGBA{213, 94, 0, 255}, false},
	{changeFloor, color.RGBA{213, 94, 0, 255}, true},
	{onlyListing, color.RGBA{0, 158, 115, 255}, true},
	{template, color.RGBA{0, 0, 0, 255}, false},
	{rcloneCopy, color.RGBA{204, 121, 167, 255}, false},
}

// panel is one quantity against the number of files.
type panel struct {
	title string
	of    func(row) float64
}

var panels = []panel{
	{"seconds", func(r row) float64 { return r.Seconds }},
	{"peak RSS, MB", func(r row) float64 { return float64(r.PeakRSS) / 1e6 }},
	{"requests to the storage", func(r row) float64 {
		return float64(r.Requests["list"] + r.Requests["get"] + r.Requests["put"] + r.Requests["delete"])
	}},
}

// plot draws the loopback's rows of AWS with files of one size, each quantity against the number of files.
func (r *report) plot() ([]byte, error) {
	const width, height = 15 * vg.Inch, 5.2 * vg.Inch
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	whole.FillPolygon(color.White, []vg.Point{{}, {X: width}, {X: width, Y: height}, {Y: height}}) // to be read on any page
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: 8 * vg.Millimeter, PadTop: 2 * vg.Millimeter, PadBottom: 2 * vg.Millimeter, PadRight: 4 * vg.Millimeter}
	for i, p := range panels {
		drawn, err := r.panel(p, i == 0)
		if err != nil {
			return nil, err
		}
		drawn.Draw(tiles.At(whole, i, 0))
	}
	var out bytes.Buffer
	_, err := canvas.WriteTo(&out)
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif")), err
}

func (r *report) panel(p panel, legend bool) (*plot.Plot, error) {
	drawn := plot.New()
	drawn.Title.Text, drawn.X.Label.Text = p.title, "files of 2 KB"
	drawn.X.Scale, drawn.Y.Scale = plot.LogScale{}, plot.LogScale{}
	drawn.X.Tick.Marker, drawn.Y.Tick.Marker = decadeTicks{}, decadeTicks{}
	drawn.Add(plotter.NewGrid())
	drawn.Legend.Top, drawn.Legend.Left, drawn.Legend.Padding = true, true, vg.Points(2)
	for _, l := range lines {
		points := r.points(l.variant, p.of)
		if len(points) == 0 {
			continue
		}
		drawnLine, drawnPoints, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		drawnLine.Color, drawnLine.Width, drawnPoints.Color, drawnPoints.Shape = l.color, vg.Points(1.5), l.color, draw.CircleGlyph{}
		if l.dashed {
			drawnLine.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
		}
		drawn.Add(drawnLine, drawnPoints)
		if legend {
			drawn.Legend.Add(l.variant, drawnLine, drawnPoints)
		}
	}
	// Whole decades, which also keeps a panel without points drawable.
	drawn.X.Min, drawn.X.Max = decades(drawn.X.Min, drawn.X.Max)
	drawn.Y.Min, drawn.Y.Max = decades(drawn.Y.Min, drawn.Y.Max)
	return drawn, nil
}

// decadeTicks are logarithmic, with numbers as people write them.
type decadeTicks struct{}

func (decadeTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.LogTicks{Prec: -1}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" && ticks[i].Value >= 1 {
			ticks[i].Label = thousands(int64(math.Round(ticks[i].Value)))
		}
	}
	return ticks
}

func decades(low, high float64) (float64, float64) {
	if !(low > 0 && high >= low) || math.IsInf(high, 0) {
		return 1, 10
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	return low, max(high, 10*low)
}

// points are those of one variant, by the number of files.
func (r *report) points(variant string, of func(row) float64) plotter.XYs {
	var points plotter.XYs
	for _, one := range r.rows {
		if one.Cloud == "aws" && one.Network == loopback && one.Measured == variant && one.Source == scenarioOf(one.Files).name && of(one) > 0 {
			points = append(points, plotter.XY{X: float64(one.Files), Y: of(one)})
		}
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
	return points
}
