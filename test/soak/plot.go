package main

import (
	"fmt"
	"strings"
	"time"
)

// The sizes of a chart, in pixels.
const (
	chartWidth  = 760
	chartHeight = 110
	chartLeft   = 60
	chartGap    = 34
)

// drawing returns the samples as an SVG: a chart for each figure, over the time,
// with the faults as bands.
func (s *soak) drawing() string {
	first, last := s.samples[0].at, s.samples[len(s.samples)-1].at
	x := func(t time.Time) float64 {
		return chartLeft + chartWidth*t.Sub(first).Seconds()/last.Sub(first).Seconds()
	}
	height := len(figures)*(chartHeight+chartGap) + 30
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" font-family="sans-serif" font-size="12">`+"\n", chartLeft+chartWidth+20, height)
	b.WriteString("<title>Sessions, memory, descriptors and goroutines during the soak</title>\n" + `<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	for i, c := range figures {
		top := float64(i*(chartHeight+chartGap) + 24)
		most := 1.0
		for _, p := range s.samples {
			most = max(most, c.of(p))
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.0f">%s</text><text x="%d" y="%.0f" text-anchor="end">%.0f</text><text x="%d" y="%.0f" text-anchor="end">0</text>`+"\n",
			chartLeft, top-6, c.title, chartLeft-6, top+10, most, chartLeft-6, top+chartHeight)
		for _, f := range s.faults {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.0f" width="%.1f" height="%d" fill="#fee2e2"><title>%s</title></rect>`+"\n",
				x(f.began), top, max(2, x(f.end)-x(f.began)), chartHeight, f.name)
		}
		b.WriteString(`<polyline fill="none" stroke="#1d4ed8" points="`)
		for _, p := range s.samples {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(p.at), top+chartHeight*(1-c.of(p)/most))
		}
		fmt.Fprintf(&b, `"/><path d="M%d %.0f v%d h%d" fill="none" stroke="#475569"/>`+"\n", chartLeft, top, chartHeight, chartWidth)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">0</text><text x="%d" y="%d" text-anchor="end">%v; red: something is broken</text>`+"\n</svg>\n",
		chartLeft, height-14, chartLeft+chartWidth, height-14, last.Sub(first).Round(time.Second))
	return b.String()
}
