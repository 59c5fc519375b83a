package main

import (
	"fmt"
	"math"
)

// fit is the straight line y = a + b × x through what was measured.
type fit struct {
	Of        string  `json:"of"`
	Over      string  `json:"over"`
	Unit      string  `json:"unit"`
	Intercept float64 `json:"intercept"`
	Slope     float64 `json:"slope"`
	R2        float64 `json:"r2"`
	Points    int     `json:"points"`
}

var fitHeader = []string{"what", "line", "R²", "of points"}

func (f fit) cells() []string {
	return []string{f.Of, fmt.Sprintf("%s = %.4g + %.4g × %s", f.Unit, f.Intercept, f.Slope, f.Over), fmt.Sprintf("%.4f", f.R2), fmt.Sprint(f.Points)}
}

// leastSquares needs at least two different x. R² is 1 if no y differs from the others.
func leastSquares(x, y []float64) (intercept, slope, r2 float64) {
	n := float64(len(x))
	var sumX, sumY float64
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
	}
	meanX, meanY := sumX/n, sumY/n
	var xx, xy, yy float64
	for i := range x {
		dx, dy := x[i]-meanX, y[i]-meanY
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	slope = xy / xx
	if yy == 0 {
		return meanY, slope, 1
	}
	return meanY - slope*meanX, slope, math.Min(1, xy*xy/(xx*yy))
}
