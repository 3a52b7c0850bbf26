package gateway

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Some items are not for everyone: the schema says which, by a field that holds
// their audience. The gateway shows each caller the items that are for the
// caller. Whoever sees the same of a push gets the same bytes, so that a push is
// encoded once for each thing there is to see, which is mostly two: all of it, or
// none. Audiences themselves are told to nobody.

// listeners are an audience, made ready to be asked of many.
type listeners struct {
	roles   []optionsv1.Role
	regions []string // in small letters
	users   map[string]struct{}
}

// listenersOf returns the listeners of an audience; nil are everyone.
func listenersOf(a *optionsv1.Audience) *listeners {
	if len(a.GetRoles())+len(a.GetRegions())+len(a.GetUserIds()) == 0 {
		return nil
	}
	l := &listeners{roles: a.GetRoles(), users: make(map[string]struct{}, len(a.GetUserIds()))}
	for _, r := range a.GetRegions() {
		l.regions = append(l.regions, strings.ToLower(r))
	}
	for _, u := range a.GetUserIds() {
		l.users[u] = struct{}{}
	}
	return l
}

// include says whether somebody fulfils every condition. region is who's, in
// small letters.
func (l *listeners) include(who *Principal, region string) bool {
	if l == nil {
		return true
	}
	if len(l.roles) > 0 && !slices.ContainsFunc(who.Roles, func(r optionsv1.Role) bool { return slices.Contains(l.roles, r) }) {
		return false
	}
	if len(l.regions) > 0 && !slices.Contains(l.regions, region) {
		return false
	}
	_, named := l.users[who.Subject]
	return named || len(l.users) == 0
}

// addressed is a response whose items may be for some only.
type addressed struct {
	body  protoreflect.Message
	items []addressedItem
}

// addressedItem is one of them, its audience taken off.
type addressedItem struct {
	list  protoreflect.FieldDescriptor
	value protoreflect.Value
	id    string
	to    *listeners
}

// address takes the audiences off a response. The body is its own from then on.
func address(lists []messages.Addressed, body proto.Message) *addressed {
	a := &addressed{body: body.ProtoReflect()}
	for _, l := range lists {
		items := a.body.Get(l.Items).List()
		for i := range items.Len() {
			m := items.Get(i).Message()
			item := addressedItem{list: l.Items, value: items.Get(i), id: m.Get(l.ID).String()}
			if m.Has(l.Audience) {
				audience, _ := m.Get(l.Audience).Message().Interface().(*optionsv1.Audience)
				item.to = listenersOf(audience)
				m.Clear(l.Audience)
			}
			a.items = append(a.items, item)
		}
		a.body.Clear(l.Items)
	}
	return a
}

// appendSeen appends what somebody sees of it: a byte for each item, 1 when it is
// for who. Whoever has the same bytes sees the same.
func (a *addressed) appendSeen(to []byte, who *Principal) []byte {
	region := strings.ToLower(who.Region)
	for i := range a.items {
		seen := byte(0)
		if a.items[i].to.include(who, region) {
			seen = 1
		}
		to = append(to, seen)
	}
	return to
}

// show returns the response with the items that are seen.
func (a *addressed) show(seen []byte) proto.Message {
	body := a.body.New()
	a.body.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		body.Set(f, v)
		return true
	})
	for i, item := range a.items {
		if seen[i] == 1 {
			body.Mutable(item.list).List().Append(item.value)
		}
	}
	return body.Interface()
}

// shown returns a response as somebody may see it.
func shown(m *messages.Method, body proto.Message, who *Principal) proto.Message {
	lists := m.Addressed()
	if len(lists) == 0 {
		return body
	}
	a := address(lists, body)
	return a.show(a.appendSeen(nil, who))
}
