package gateway

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// This file is also built into the marketplace that is measured, by an overlay
// of the build (see buildOurs): asked by a signal, a server gives its garbage
// back to the system and says what it holds. The product itself has no such
// door.
func init() {
	if os.Getenv("BENCH_HOOK") == "" {
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			debug.FreeOSMemory()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Printf("bench: {\"heap\":%d,\"spans\":%d,\"stack\":%d,\"runtime\":%d,\"goroutines\":%d}\n", m.HeapAlloc, m.HeapInuse, m.StackInuse,
				m.MSpanInuse+m.GCSys+m.OtherSys, runtime.NumGoroutine())
		}
	}()
}
