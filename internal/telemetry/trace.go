package telemetry

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans and sends them on. A nil Tracer makes none, at no cost.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTracer sends spans by OTLP over HTTP to an endpoint such as
// http://127.0.0.1:4318. ratio is the share of requests that are traced of those
// that bring no decision of their own: 0 to 1.
func NewTracer(ctx context.Context, endpoint string, ratio float64) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(endpoint, "/")+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("send spans to %s: %w", endpoint, err)
	}
	return newTracer(sdktrace.WithBatcher(exporter), ratio), nil
}

func newTracer(to sdktrace.TracerProviderOption, ratio float64) *Tracer {
	p := sdktrace.NewTracerProvider(to,
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "marketplace"))))
	return &Tracer{p, p.Tracer("github.com/threefoldtech/cloud-marketplace")}
}

// Close sends what was not sent yet.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is one part of a request's way. A nil Span is none.
type Span struct {
	ctx  context.Context //nolint:containedctx // what a span is, to the library
	span trace.Span
}

// Start begins a span below the one that parent names, a traceparent of W3C
// Trace Context; with none it begins a trace.
func (t *Tracer) Start(parent, name string) *Span {
	if t == nil {
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	ctx, span := t.tracer.Start(ctx, name) //nolint:spancheck // whoever has the Span ends it
	return &Span{ctx, span}                //nolint:spancheck // as above
}

// Below begins a span only where parent names one that is recorded.
func (t *Tracer) Below(parent, name string) *Span {
	if t == nil || parent == "" {
		return nil
	}
	return t.Start(parent, name)
}

// Parent returns the span's traceparent, for those who go on.
func (s *Span) Parent() string {
	if s == nil {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(s.ctx, carrier)
	return carrier["traceparent"]
}

// End ends the span; failure is why what it stands for failed, or "".
func (s *Span) End(failure string) {
	if s == nil {
		return
	}
	if failure != "" {
		s.span.SetStatus(codes.Error, failure)
	}
	s.span.End()
}
