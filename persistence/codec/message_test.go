package codec

import (
	"errors"
	"reflect"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

func FuzzDecodeMessage(f *testing.F) {
	ann := persistence.Origin{Entity: persistence.Entity{Kind: "user", ID: "ann"}, Version: 7, Index: 1}
	m := persistence.Message{UUID: "u", Metadata: map[string]string{"a": "b"}, Payload: []byte("p")}
	f.Add(AppendMessage(nil, &m, ann))
	f.Add(AppendMessage(nil, &persistence.Message{}, ann))
	f.Add(AppendMessage(nil, &m, persistence.Origin{}))
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{200, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			if !errors.Is(err, persistence.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeMessage(AppendMessage(nil, &m, m.Origin))
		if err != nil || !reflect.DeepEqual(again.Metadata, m.Metadata) || again.UUID != m.UUID ||
			again.Origin != m.Origin || string(again.Payload) != string(m.Payload) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
