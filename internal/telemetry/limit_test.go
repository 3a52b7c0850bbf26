package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoggerLimitsWhatRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, err := Logger(&out, "info", "text")
		if err != nil {
			t.Fatal(err)
		}
		log = log.With(slog.String("part", "a"))
		for range 1000 {
			log.Warn("the store is away")
			log.Info("fine")
			log.Error("ALARM: look at this")
		}
		log.Warn("something else")
		time.Sleep(window)
		log.Warn("the store is away")
		text := out.String()
		for what, want := range map[string]int{"the store is away": burst + 1, "fine": 1000, "ALARM": 1000, "something else": 1, "not_told=990": 1} {
			if got := strings.Count(text, what); got != want {
				t.Errorf("%q was told %d times, not %d", what, got, want)
			}
		}
	})
}
