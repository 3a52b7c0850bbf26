// Package telemetry is what a process tells of itself: logs and metrics.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"

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

// Handler answers with all metrics in the Prometheus format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
