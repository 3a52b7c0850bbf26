package gridproxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// Errors of the sandbox's own switches; the caller's mistakes.
var (
	ErrNoNode   = errors.New("there is no such node in the recording")
	ErrNoStatus = errors.New("a status is up, down or standby")
	ErrNoFault  = errors.New("a fault is an HTTP status from 400 to 599, or 0 to end it")
)

// SetNodeStatus makes a node up, down or standby from now on. It fails with
// ErrNoNode or ErrNoStatus.
func (p *Proxy) SetNodeStatus(nodeID int, status string) error {
	if !isStatus(status) {
		return fmt.Errorf("set node %d to %q: %w", nodeID, status, ErrNoStatus)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.at(nodeID)
	if !ok {
		return fmt.Errorf("set node %d to %q: %w", nodeID, status, ErrNoNode)
	}
	changed := *p.nodes[i]
	changed.Status = status
	p.nodes[i] = &changed
	return nil
}

// Fail answers every request with an HTTP status until Fail(0). It fails with ErrNoFault.
func (p *Proxy) Fail(code int) error {
	if code != 0 && (code < 400 || code > 599) {
		return fmt.Errorf("fail with %d: %w", code, ErrNoFault)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = code
	return nil
}

func (p *Proxy) failing() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.fault
}

// at returns where a node is in the list. The caller holds the lock.
func (p *Proxy) at(nodeID int) (int, bool) {
	return slices.BinarySearchFunc(p.nodes, nodeID, func(n *node, id int) int { return cmp.Compare(n.NodeID, id) })
}

func (p *Proxy) postNode(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusNotFound, ErrNoNode.Error())
		return
	}
	did(w, p.SetNodeStatus(id, r.URL.Query().Get("status")))
}

func (p *Proxy) postFault(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil {
		refuse(w, http.StatusBadRequest, ErrNoFault.Error())
		return
	}
	did(w, p.Fail(code))
}

// did answers whether a switch was set.
func did(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrNoNode):
		refuse(w, http.StatusNotFound, err.Error())
	default:
		refuse(w, http.StatusBadRequest, err.Error())
	}
}
