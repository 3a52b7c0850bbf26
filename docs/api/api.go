// Package api holds the descriptions of the API that programs read: OpenAPI for
// the methods over HTTP, AsyncAPI for the WebSocket. Both are generated from the
// schema; this package carries them into the server that answers as they say.
package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the documents
	"encoding/hex"
	"net/http"
	"time"
)

// The documents, as they are served.
var (
	//go:embed openapi.json
	OpenAPI []byte
	//go:embed asyncapi.json
	AsyncAPI []byte
)

// Handler serves the documents below /docs/api/. They change with the server
// alone, so who has one asks whether it is still the same.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /docs/api/openapi.json", serve(OpenAPI))
	mux.Handle("GET /docs/api/asyncapi.json", serve(AsyncAPI))
	return mux
}

func serve(document []byte) http.Handler {
	sum := sha256.Sum256(document)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(document))
	})
}
