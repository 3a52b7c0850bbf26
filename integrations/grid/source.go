package grid

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	pageSize = 500
	// maxNodes is more nodes than a grid has; who tells more is not believed.
	maxNodes = 200_000
)

// answer is the whole grid, as far as it makes sense.
type answer struct {
	nodes   []*marketplacev1.Node // each once
	skipped int                   // nodes that make no sense
}

// source is a grid-proxy.
type source struct {
	client *http.Client
	url    string
	config *Config
}

// nodes asks for all nodes, page by page. Nodes that come and go meanwhile may
// be missed or told twice; the next look finds them. It fails with ErrNoAnswer
// or ErrNonsense.
func (s *source) nodes(ctx context.Context) (answer, error) {
	var all answer
	at := map[uint32]int{}
	for page, told := 1, 0; ; page++ {
		nodes, count, err := s.page(ctx, page)
		switch {
		case err != nil:
			return answer{}, fmt.Errorf("ask for page %d of the nodes: %w", page, err)
		case count < 1 || count > maxNodes:
			return answer{}, fmt.Errorf("%w: there are %d nodes", ErrNonsense, count)
		case len(nodes) == 0:
			return answer{}, fmt.Errorf("%w: page %d is empty after %d of %d nodes", ErrNonsense, page, told, count)
		}
		for i := range nodes {
			n := nodes[i].node()
			if n == nil {
				all.skipped++
				continue
			}
			if i, again := at[n.GetNodeId()]; again {
				all.nodes[i] = n
				continue
			}
			at[n.GetNodeId()] = len(all.nodes)
			all.nodes = append(all.nodes, n)
		}
		if told += len(nodes); told >= count {
			break
		}
	}
	if len(all.nodes) == 0 {
		return answer{}, fmt.Errorf("%w: none of %d nodes does", ErrNonsense, all.skipped)
	}
	return all, nil
}

// page asks for one page of the nodes and how many there are altogether.
func (s *source) page(ctx context.Context, page int) (nodes []proxyNode, count int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	url := fmt.Sprintf("%s/nodes?size=%d&page=%d&ret_count=true", strings.TrimRight(s.url, "/"), pageSize, page)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer func() { _ = res.Body.Close() }() // what matters has been read
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%w: status %d", ErrNoAnswer, res.StatusCode)
	}
	count, err = strconv.Atoi(res.Header.Get("Count"))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: it does not say how many nodes there are", ErrNonsense)
	}
	nodes, err = s.read(res.Body)
	return nodes, count, err
}

// read decodes a page of which no more is read than may be.
func (s *source) read(body io.Reader) ([]proxyNode, error) {
	text, err := io.ReadAll(io.LimitReader(body, s.config.MaxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case int64(len(text)) > s.config.MaxBody:
		return nil, fmt.Errorf("%w: a page is larger than %d bytes", ErrNonsense, s.config.MaxBody)
	}
	nodes, err := decode(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNonsense, err)
	case len(nodes) > pageSize:
		return nil, fmt.Errorf("%w: %d nodes on a page of %d", ErrNonsense, len(nodes), pageSize)
	default:
		return nodes, nil
	}
}

// decode reads a list of nodes. What is no node must not spoil the list it is
// in: it is left without an id. Lists are read at once, and one by one only if
// something in them is odd.
func decode(text []byte) ([]proxyNode, error) {
	var nodes []proxyNode
	err := json.NewDecoder(bytes.NewReader(text)).Decode(&nodes)
	if err == nil {
		return nodes, nil
	}
	var each []json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&each); err != nil {
		return nil, err
	}
	nodes = make([]proxyNode, len(each))
	for i, one := range each {
		if json.NewDecoder(bytes.NewReader(one)).Decode(&nodes[i]) != nil {
			nodes[i] = proxyNode{}
		}
	}
	return nodes, nil
}
