package gateway

// bucket is a token bucket: rate tokens a second, at most burst. The zero
// bucket is full at its first use.
type bucket struct {
	milli  int64 // thousandths of a token
	lastMS int64
}

// take takes n tokens, or none and says so.
func (b *bucket) take(n, rate, burst, nowMS int64) bool {
	b.fill(rate, burst, nowMS)
	if b.milli < n*1000 {
		return false
	}
	b.milli -= n * 1000
	return true
}

// charge takes n tokens, also those that are yet to come, but never puts the
// bucket further into debt than a burst.
func (b *bucket) charge(n, rate, burst, nowMS int64) {
	b.fill(rate, burst, nowMS)
	b.milli = max(b.milli-n*1000, -burst*1000)
}

// fill adds what has come since.
func (b *bucket) fill(rate, burst, nowMS int64) {
	if b.lastMS == 0 {
		b.milli = burst * 1000
	} else if passed := nowMS - b.lastMS; passed > 0 {
		b.milli = min(burst*1000, b.milli+passed*rate)
	}
	b.lastMS = nowMS
}
