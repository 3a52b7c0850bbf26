package boltstore_test

import (
	"math/rand/v2"
	"slices"
)

const (
	sector = 512  // what a disk writes whole or not at all, in bytes
	metas  = 8192 // where the two pages end that say which pages count
)

// history is what a process did to its file, in the order in which it began.
// The file's creation comes first; it has another name then.
type history []*op

// without is the history in which an operation was not done, as by a disk that lies.
func (h history) without(i int) history { return slices.Delete(slices.Clone(h), i, i+1) }

// begun is what had begun before a line of the trace.
func (h history) begun(line int) history {
	n, _ := slices.BinarySearchFunc(h, line, func(o *op, line int) int { return o.begin - line })
	return h[:n]
}

// synced returns the beginning of the last operation of a kind that had ended
// before a line; -1 if none had. What ended before that beginning is on the disk.
func (h history) synced(kind opKind, line int) int {
	for _, o := range slices.Backward(h.begun(line)) {
		if o.kind == kind && o.end < line {
			return o.begin
		}
	}
	return -1
}

// before returns the last operation of a sort before another; -1 if there is none.
func (h history) before(i int, sort func(*op) bool) int {
	for i--; i >= 0 && !sort(h[i]); i-- {
	}
	return i
}

// after returns the first operation of a sort after another; -1 if there is none.
func (h history) after(i int, sort func(*op) bool) int {
	if n := slices.IndexFunc(h[i+1:], sort); n >= 0 {
		return i + 1 + n
	}
	return -1
}

// acked returns the highest version of each entity that was acknowledged before a
// line. An acknowledgement counts from its beginning: the store had answered.
func (h history) acked(line int) []uint64 {
	versions := make([]uint64, powerEntities)
	for _, o := range h.begun(line) {
		if o.kind == opAck {
			versions[o.entity] = max(versions[o.entity], o.version)
		}
	}
	return versions
}

// Sorts of operations.
func isName(o *op) bool { return o.kind == opName }
func isAck(o *op) bool  { return o.kind == opAck }
func isSync(o *op) bool { return o.kind == opSync }
func isMeta(o *op) bool { return o.kind == opWrite && o.offset < metas }
func isPage(o *op) bool { return o.kind == opWrite && o.offset >= metas }

// disk makes files as power losses leave them.
type disk struct {
	of   history
	line int
	done int    // how many operations of the history are all in base
	base []byte // the file as they leave it
	file []byte // the file made last, whose room is used again
}

// lost is a file as a power loss before a line may leave it; nil if there is
// none. It is valid until the next.
//
// What a sync covers is there: what had ended when the sync began, if the sync
// has ended. Everything else is there, not there, or torn, each for itself and
// so in any order. A file may have grown for a write whose data is not there.
func (d *disk) lost(h history, line int, random *rand.Rand) []byte {
	durable := h.synced(opSync, line)
	d.settle(h, line, durable)
	named := h[h.after(0, isName)]
	if line <= named.begin || h.synced(opKeep, line) < named.end && random.IntN(2) == 0 {
		return nil
	}
	file := append(grow(d.file, 1)[:0], d.base...) // An empty file is one, too.
	for _, o := range h.begun(line)[d.done:] {
		if o.end < durable {
			file = o.whole(file)
		} else {
			file = o.perhaps(file, random)
		}
	}
	d.file = file
	return file
}

// settle brings base to a line. Only a line before the last one, or another
// history, makes it begin anew.
func (d *disk) settle(h history, line, durable int) {
	if len(d.of) == 0 || &d.of[0] != &h[0] || line < d.line {
		*d = disk{of: h, base: d.base[:0], file: d.file}
	}
	d.line = line
	for ; d.done < len(h) && h[d.done].end < durable; d.done++ {
		d.base = h[d.done].whole(d.base)
	}
}

// whole does an operation to a file.
func (o *op) whole(file []byte) []byte {
	switch o.kind {
	case opWrite:
		file = grow(file, int(o.offset)+len(o.data))
		copy(file[o.offset:], o.data)
	case opResize:
		file = grow(file, int(o.offset))[:o.offset]
	case opCreate, opKeep, opSync, opName, opAck:
	}
	return file
}

// perhaps does an operation to a file, or does not, or a part of it.
func (o *op) perhaps(file []byte, random *rand.Rand) []byte {
	switch random.IntN(3) {
	case 0:
		return o.whole(file)
	case 1:
		if o.kind == opWrite {
			return o.torn(file, random)
		}
	}
	return file
}

// torn writes some of the sectors of a write.
func (o *op) torn(file []byte, random *rand.Rand) []byte {
	if random.IntN(2) == 0 {
		file = grow(file, int(o.offset)+len(o.data))
	}
	for from := 0; from < len(o.data); from += sector {
		if random.IntN(2) == 0 {
			to := min(from+sector, len(o.data))
			file = grow(file, int(o.offset)+to)
			copy(file[int(o.offset)+from:], o.data[from:to])
		}
	}
	return file
}

// grow makes a file at least so long, with zeros.
func grow(file []byte, size int) []byte {
	if missing := size - len(file); missing > 0 {
		return append(file, make([]byte, missing)...)
	}
	return file
}
