package grid

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

func answers(code int, count, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if count != "" {
			w.Header().Set("Count", count)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func TestBadSourceIsNoNews(t *testing.T) {
	many := strings.Repeat(plainNode(9, "down")+",", pageSize)
	for name, c := range map[string]struct {
		proxy http.HandlerFunc
		want  error
	}{
		"fails":             {answers(500, "1", "["+plainNode(9, "down")+"]"), ErrNoAnswer},
		"not found":         {answers(404, "", "404 page not found"), ErrNoAnswer},
		"garbage":           {answers(200, "1", "\x00\xff<html>"), ErrNonsense},
		"an object":         {answers(200, "1", `{"error":"no"}`), ErrNonsense},
		"null":              {answers(200, "1", "null"), ErrNonsense},
		"no nodes":          {answers(200, "0", "[]"), ErrNonsense},
		"none of many":      {answers(200, "6000", "[]"), ErrNonsense},
		"no count":          {answers(200, "", "["+plainNode(9, "down")+"]"), ErrNonsense},
		"count no number":   {answers(200, "all", "["+plainNode(9, "down")+"]"), ErrNonsense},
		"too many":          {answers(200, "200001", "["+plainNode(9, "down")+"]"), ErrNonsense},
		"a page too full":   {answers(200, "501", "["+many+plainNode(9, "down")+"]"), ErrNonsense},
		"not one node":      {answers(200, "3", `[1,"x",{"nodeId":"7"}]`), ErrNonsense},
		"cut off":           {answers(200, "1", "["+plainNode(9, "down")[:30]), ErrNonsense},
		"empty":             {answers(200, "1", ""), ErrNonsense},
		"huge":              {answers(200, "1", "["+strings.Repeat(" ", 2<<20)+plainNode(9, "down")+"]"), ErrNonsense},
		"silent":            {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrNoAnswer},
		"dies at page two":  {second(answers(502, "", "")), ErrNoAnswer},
		"page two is empty": {second(answers(200, "600", "[]")), ErrNonsense},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.proxy)
				config := w.config()
				config.MaxBody = 1 << 20
				watcher, stop := w.run(config)
				defer stop()
				time.Sleep(2 * time.Hour) // of the bubble's time
				synctest.Wait()
				if told := w.take(); len(told) != 0 {
					t.Errorf("told %v", told)
				}
				if s := watcher.Status(); !errors.Is(s.LastError, c.want) || !s.LastSuccess.IsZero() || s.Failures < 10 {
					t.Errorf("status %+v, want %v", s, c.want)
				}
				if log := w.logged(); !slices.Equal(log, []string{"the grid is not watched"}) {
					t.Errorf("logged %q", log)
				}
				w.serve(pages(plainNode(9, "up")))
				nextLook()
				if told := w.take(); !slices.Equal(told, []uint32{9}) {
					t.Errorf("well again, it told %v", told)
				}
				if s := watcher.Status(); s.LastError != nil || s.Failures != 0 {
					t.Errorf("well again: %+v", s)
				}
				if log := w.logged(); !slices.Equal(log, []string{"the grid is watched again"}) {
					t.Errorf("well again, it logged %q", log)
				}
			})
		})
	}
}

// second is a proxy whose first page is good and full.
func second(then http.Handler) http.HandlerFunc {
	nodes := make([]string, 600)
	for i := range nodes {
		nodes[i] = plainNode(i+1, "down")
	}
	good := pages(nodes...)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "1" {
			good.ServeHTTP(w, r)
			return
		}
		then.ServeHTTP(w, r)
	}
}

// TestSmallPages is a proxy that gives less on a page than it is asked for, and
// shifts while it is asked.
func TestSmallPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			page := map[string]string{
				"1": plainNode(1, "up") + "," + plainNode(2, "up"), "2": plainNode(2, "down") + "," + plainNode(3, "up"), "3": plainNode(4, "up"),
			}[r.URL.Query().Get("page")]
			answers(200, "5", "["+page+"]")(rw, r)
		}))
		_, stop := w.run(w.config())
		defer stop()
		synctest.Wait()
		if told := w.take(); !slices.Equal(told, []uint32{1, 2, 3, 4}) || w.node(2).GetStatus() != marketplacev1.NodeStatus_NODE_STATUS_DOWN {
			t.Errorf("told %v, node 2 is %v", told, w.node(2))
		}
	})
}

// TestOverSockets is one look without the bubble and with a default client.
func TestOverSockets(t *testing.T) {
	server := httptest.NewServer(pages(plainNode(1, "up"), plainNode(2, "down")))
	w := newWorld(t, nil)
	config := w.config()
	config.Client, config.ProxyURL = nil, server.URL
	watcher := New(config)
	if err := watcher.look(t.Context()); err != nil || !slices.Equal(w.take(), []uint32{1, 2}) {
		t.Errorf("a look: %v", err)
	}
	server.Close()
	if err := watcher.look(t.Context()); !errors.Is(err, ErrNoAnswer) || len(w.take()) != 0 {
		t.Errorf("a look at nobody: %v", err)
	}
}
