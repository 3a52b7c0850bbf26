package messages

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestAppendJSON holds every message that is sent, with all kinds of content,
// to the bytes of protojson.
func TestAppendJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, m := range Methods {
		for range 200 {
			for _, body := range []proto.Message{m.Request(), m.Response()} {
				scatter(r, body.ProtoReflect(), 0)
				want, err := jsonOut.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				var compact bytes.Buffer
				if err := json.Compact(&compact, want); err != nil {
					t.Fatal(err)
				}
				got, err := AppendJSON(nil, body)
				if err != nil || !bytes.Equal(got, compact.Bytes()) {
					t.Fatalf("%s: %v\n got %s\nwant %s", m.Path, err, got, compact.Bytes())
				}
			}
		}
	}
}

var scattered = []string{"", "plain", "ü€😀", "\x00\x1f\"\\/\b\f\n\r\t\x7f", "<&>\u2028"}

// scatter fills a message at random.
func scatter(r *rand.Rand, m protoreflect.Message, depth int) {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		ts.Seconds, ts.Nanos = r.Int64N(4e9)-1e9, []int32{0, 5e8, 123456000, 1, 999999999}[r.IntN(5)]
		return
	}
	if s, ok := m.Interface().(*structpb.Struct); ok { // left to protojson, values of every kind included
		s.Fields = map[string]*structpb.Value{scattered[r.IntN(5)]: structpb.NewStringValue(scattered[r.IntN(5)])}
		return
	}
	if d, ok := m.Interface().(*durationpb.Duration); ok {
		d.Seconds, d.Nanos = r.Int64N(1e9), []int32{0, 5e8, 123456000, 1, 999999999}[r.IntN(5)]
		if r.IntN(2) == 0 {
			d.Seconds, d.Nanos = -d.GetSeconds(), -d.GetNanos()
		}
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if r.IntN(3) == 0 || depth > 4 {
			continue
		}
		switch {
		case f.IsMap():
			for range r.IntN(4) {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(scattered[r.IntN(5)]).MapKey(), scatterOne(r, f.MapValue(), m.Mutable(f).Map().NewValue(), depth))
			}
		case f.IsList():
			for range r.IntN(3) {
				m.Mutable(f).List().Append(scatterOne(r, f, m.Mutable(f).List().NewElement(), depth))
			}
		default:
			m.Set(f, scatterOne(r, f, m.NewField(f), depth))
		}
	}
}

func scatterOne(r *rand.Rand, f protoreflect.FieldDescriptor, fresh protoreflect.Value, depth int) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(scattered[r.IntN(5)])
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(r.Uint32())
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(r.Uint64()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(r.Uint64())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(9)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(scattered[r.IntN(5)]))
	case protoreflect.MessageKind:
		scatter(r, fresh.Message(), depth+1)
	}
	return fresh
}

func BenchmarkAppendJSON(b *testing.B) {
	m := ByPath("cloud-user/get-account").Response()
	scatter(rand.New(rand.NewPCG(1, 2)), m.ProtoReflect(), 0)
	buf, _ := AppendJSON(nil, m)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = AppendJSON(buf[:0], m)
		}
	})
	b.Run("protojson", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = jsonOut.MarshalAppend(buf[:0], m)
		}
	})
	b.Log(len(buf))
}
