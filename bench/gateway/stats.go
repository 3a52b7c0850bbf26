package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// series is one figure of one server, once for each round.
type series []float64

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[len(s)/2]
}

// text is the median with the range of the rounds.
func (s series) text(format string) string {
	if len(s) == 0 {
		return "–"
	}
	return fmt.Sprintf(format+" ("+format+"…"+format+")", s.median(), slices.Min(s), slices.Max(s))
}

// over returns the ratios of the rounds, each to the other's in the same round.
func (s series) over(other series) series {
	var ratios series
	for i := range min(len(s), len(other)) {
		ratios = append(ratios, s[i]/other[i])
	}
	return ratios
}

// results are the figures of a table: by server, then by name.
type results map[string]map[string]series

func (r results) add(server string, figures map[string]float64) {
	if r[server] == nil {
		r[server] = map[string]series{}
	}
	for name, v := range figures {
		r[server][name] = append(r[server][name], v)
	}
}

// line prints a row of a table.
func line(cells ...string) { fmt.Println("| " + strings.Join(cells, " | ") + " |") }

// head prints the head of a table under its title.
func head(title string, cells ...string) {
	fmt.Printf("\n%s\n\n", title)
	line(cells...)
	fmt.Println(strings.Repeat("|---", len(cells)) + "|")
}

// percentile is that of unsorted times, in milliseconds.
func percentile(all []time.Duration, p float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return milliseconds(all[int(float64(len(all)-1)*p)])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
