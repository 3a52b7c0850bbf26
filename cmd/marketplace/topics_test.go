package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTopicMetrics has a server tell how far its inbox is behind, and what it
// could not deliver.
func TestTopicMetrics(t *testing.T) {
	server := run(t, testConfig(t))
	for deadline := time.Now().Add(20 * time.Second); ; {
		text := server.metrics(t)
		if strings.Contains(text, `marketplace_topic_unread{group="inbox",topic="observations"} 0`) {
			if !strings.Contains(text, "marketplace_poison_waiting 0") {
				t.Errorf("the metrics lack the poison:\n%s", text)
			}
			break // the grid was seen, and all of it was told
		}
		if time.Now().After(deadline) {
			t.Fatalf("the metrics lack the inbox:\n%s", text)
		}
	}
}

// metrics asks for the metrics of a server.
func (r running) metrics(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
