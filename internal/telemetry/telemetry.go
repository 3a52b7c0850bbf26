// Package telemetry is what a process tells of itself: logs and metrics.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Logger returns a logger that writes to w. level is debug, info, warn or
// error; format is text or json. A warning that repeats is told ten times a
// second at most; ALARM is told each time.
func Logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: %w", level, err)
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(limit(slog.NewJSONHandler(w, options))), nil
	}
	return slog.New(limit(slog.NewTextHandler(w, options))), nil
}

// Metrics are read when somebody asks for them.
type Metrics struct{ registry *prometheus.Registry }

// NewMetrics returns the metrics of the process and of the Go runtime.
func NewMetrics() *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Metrics{r}
}

// Counter tells a number that only rises, named marketplace_<name>.
func (m *Metrics) Counter(name, help string, value func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "marketplace", Name: name, Help: help},
		func() float64 { return float64(value()) }))
}

// Gauge tells a number that rises and falls, named marketplace_<name>.
func (m *Metrics) Gauge(name, help string, value func() uint64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "marketplace", Name: name, Help: help},
		func() float64 { return float64(value()) }))
}

// Gauges tells a number of each of several things, named marketplace_<name> and
// told apart by labels. values is asked for all of them at once.
func (m *Metrics) Gauges(name, help string, labels []string, values func(tell func(value uint64, labels ...string))) {
	m.registry.MustRegister(&gauges{prometheus.NewDesc("marketplace_"+name, help, labels, nil), values})
}

// gauges are the numbers of things that come and go.
type gauges struct {
	desc   *prometheus.Desc
	values func(tell func(value uint64, labels ...string))
}

// Describe tells what all numbers have in common.
func (g *gauges) Describe(all chan<- *prometheus.Desc) { all <- g.desc }

// Collect tells the numbers.
func (g *gauges) Collect(all chan<- prometheus.Metric) {
	g.values(func(value uint64, labels ...string) {
		m, err := prometheus.NewConstMetric(g.desc, prometheus.GaugeValue, float64(value), labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(g.desc, err)
		}
		all <- m
	})
}

// Counters counts several things, told apart by a label.
type Counters struct{ vector *prometheus.CounterVec }

// Counters makes Counters named marketplace_<name>.
func (m *Metrics) Counters(name, help, label string) Counters {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "marketplace", Name: name, Help: help}, []string{label})
	m.registry.MustRegister(v)
	return Counters{v}
}

// Add counts one more of the things that a label names.
func (c Counters) Add(label string) { c.vector.WithLabelValues(label).Inc() }

// Durations count how long several things take, told apart by a label.
type Durations struct{ vector *prometheus.HistogramVec }

// Durations makes Durations named marketplace_<name>, in seconds.
func (m *Metrics) Durations(name, help, label string) Durations {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "marketplace", Name: name, Help: help, Buckets: durations}, []string{label})
	m.registry.MustRegister(v)
	return Durations{v}
}

// Of returns what takes the durations of what a label names.
func (d Durations) Of(label string) func(time.Duration) {
	o := d.vector.WithLabelValues(label)
	return func(took time.Duration) { o.Observe(took.Seconds()) }
}

// durations are the bounds of histograms: from a tenth of a millisecond to ten seconds.
var durations = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Handler answers with all metrics in the Prometheus format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
