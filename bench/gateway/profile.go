package gateway

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile writes what the marketplace does from now on, for as long as a
// measurement takes, if profiles are wanted. The figures of such a run are not
// for a table.
func (c *crowd) profile(length time.Duration) {
	if c.env.Profiles == "" || c.server.admin == "" {
		return
	}
	c.profiles.Go(func() { c.fetch("cpu", fmt.Sprintf("profile?seconds=%d", max(1, int(length.Seconds())))) })
}

// profileMemory writes what the marketplace holds at a moment.
func (c *crowd) profileMemory(moment string) {
	if c.env.Profiles == "" || c.server.admin == "" {
		return
	}
	c.fetch("heap-"+moment, "heap")
}

// fetch stores one profile in a file of its own.
func (c *crowd) fetch(what, path string) {
	resp, err := http.Get("http://" + c.server.admin + "/debug/pprof/" + path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profile:", err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	f, err := os.Create(filepath.Join(c.env.Profiles, c.table+"-"+what+".pprof"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profile:", err)
		return
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		fmt.Fprintln(os.Stderr, "no profile:", err)
	}
	_ = f.Close()
}
