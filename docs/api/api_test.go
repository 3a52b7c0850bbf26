package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ask sends a request to the handler.
func ask(t *testing.T, path, tag string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestDocumentsAreServed(t *testing.T) {
	for path, version := range map[string]string{"openapi": "3.1.0", "asyncapi": "3.0.0"} {
		w := ask(t, "/docs/api/"+path+".json", "")
		var document map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || w.Code != http.StatusOK || document[path] != version {
			t.Errorf("%s: %d, version %v, %v", path, w.Code, document[path], err)
		}
		if kind := w.Header().Get("Content-Type"); kind != "application/json" {
			t.Errorf("%s is served as %s", path, kind)
		}
		if again := ask(t, "/docs/api/"+path+".json", w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s: who has it already is answered %d with %d bytes", path, again.Code, again.Body.Len())
		}
	}
	if w := ask(t, "/docs/api/nothing.json", ""); w.Code != http.StatusNotFound {
		t.Errorf("what is not there is answered %d", w.Code)
	}
}
