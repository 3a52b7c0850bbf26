package entity

import (
	"slices"
	"sync"
)

// lanes let one attempt at a time pass for each key, in the order in which they
// were asked for. They are of one process: tasks with keys belong to entities
// that only one process runs.
type lanes struct {
	mu     sync.Mutex
	queues map[string][]*turn
}

// turn is a place in a lane; the first of its queue has it.
type turn struct {
	lanes *lanes
	key   string
	ready func()
}

// enter joins a lane. ready is called once the turn has come, perhaps at once
// and from whoever left before; it must not block.
func (l *lanes) enter(key string, ready func()) *turn {
	t := &turn{l, key, ready}
	l.mu.Lock()
	if l.queues == nil {
		l.queues = map[string][]*turn{}
	}
	l.queues[key] = append(l.queues[key], t)
	first := len(l.queues[key]) == 1
	l.mu.Unlock()
	if first {
		ready()
	}
	return t
}

// leave gives a turn back, or the place in the queue; again it changes nothing.
func (t *turn) leave() {
	if t == nil {
		return
	}
	t.lanes.mu.Lock()
	queue := t.lanes.queues[t.key]
	at := slices.Index(queue, t)
	if at < 0 {
		t.lanes.mu.Unlock()
		return
	}
	queue = slices.Delete(queue, at, at+1)
	t.lanes.queues[t.key] = queue
	var next *turn
	switch {
	case len(queue) == 0:
		delete(t.lanes.queues, t.key)
	case at == 0:
		next = queue[0]
	}
	t.lanes.mu.Unlock()
	if next != nil {
		next.ready()
	}
}
