package redisstore

import (
	"fmt"
	"strings"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// keys builds the names of what lies in Redis. All of them begin with the same
// tag in braces, so that a cluster keeps them on one node and a commit is one
// script there, too:
//
//	{tag}:meta                     hash: format, epoch, beat
//	{tag}:e:kind/id                hash: v version, c commit, h why halted, k data key,
//	                               v0 s0 v1 s1 the last two snapshots,
//	                               l:list what stands for a list's archived items
//	{tag}:j:kind/id                stream: version-0 → events
//	{tag}:l:kind/list/id           stream: version-index → item of a list
//	{tag}:ids:kind                 set in the order of ids
//	{tag}:wakes                    set: kind, zero byte, id by milliseconds since 1970
//	{tag}:halted, {tag}:keys       sets: kind, zero byte, id
//	{tag}:ends                     hash: topic → number of its newest message
//	{tag}:t:topic                  stream: number-0 → message
//	{tag}:groups                   hash: topic, zero byte, group → number
//	{tag}:lease:name               holder, with a time to live
type keys struct{ tag string }

// escape makes a kind or list safe in front of a slash; ids come last.
var (
	escape   = strings.NewReplacer("%", "%25", "/", "%2F")
	unescape = strings.NewReplacer("%25", "%", "%2F", "/")
)

// name is the entity as it stands in sets, which are in the order of entities.
func name(e persistence.Entity) string { return e.Kind + "\x00" + e.ID }

// parseName reads what name wrote.
func parseName(n string) (persistence.Entity, error) {
	kind, id, found := strings.Cut(n, "\x00")
	e := persistence.Entity{Kind: kind, ID: id}
	if !found || e.Validate() != nil {
		return persistence.Entity{}, fmt.Errorf("%q is not an entity: %w", n, persistence.ErrCorrupt)
	}
	return e, nil
}

func (k keys) of(part string) string     { return "{" + k.tag + "}:" + part }
func (k keys) meta() string              { return k.of("meta") }
func (k keys) wakes() string             { return k.of("wakes") }
func (k keys) halted() string            { return k.of("halted") }
func (k keys) dataKeys() string          { return k.of("keys") }
func (k keys) ends() string              { return k.of("ends") }
func (k keys) groups() string            { return k.of("groups") }
func (k keys) ids(kind string) string    { return k.of("ids:" + kind) }
func (k keys) topic(topic string) string { return k.of("t:" + topic) }
func (k keys) lease(name string) string  { return k.of("lease:" + name) }
func (k keys) state(e persistence.Entity) string {
	return k.of("e:" + escape.Replace(e.Kind) + "/" + e.ID)
}

func (k keys) journal(e persistence.Entity) string {
	return k.of("j:" + escape.Replace(e.Kind) + "/" + e.ID)
}

func (k keys) list(e persistence.Entity, list string) string {
	return k.of("l:" + escape.Replace(e.Kind) + "/" + escape.Replace(list) + "/" + e.ID)
}

// parse reads the name of a key: the part before the colon and, for what belongs
// to an entity, the entity and its list.
func (k keys) parse(key string) (part string, e persistence.Entity, list string, ok bool) {
	rest, ours := strings.CutPrefix(key, k.of(""))
	part, rest, found := strings.Cut(rest, ":")
	if !ours || !found {
		return part, e, "", ours
	}
	kind, id, _ := strings.Cut(rest, "/")
	if part == "l" {
		list, id, _ = strings.Cut(id, "/")
	}
	return part, persistence.Entity{Kind: unescape.Replace(kind), ID: id}, unescape.Replace(list), true
}

// archived is the field of what stands for a list's archived items.
func archived(list string) string { return "l:" + list }

// member is the field of a group in the hash of groups.
func member(group, topic string) string { return topic + "\x00" + group }
