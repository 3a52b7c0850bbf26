package issuer

import "strings"

// Person is somebody who may be signed in.
type Person struct {
	Username string
	Name     string
	Email    string
	Roles    []string // as tokens spell them
}

// Subject returns how tokens call the person.
func (p Person) Subject() string { return "sandbox|" + p.Username }

// About says what the person is, for the page on which one is chosen.
func (p Person) About() string { return strings.Join(p.Roles, ", ") }

// People returns everybody in the sandbox.
func People() []Person {
	return []Person{
		{Username: "alice", Name: "Alice", Email: "alice@sandbox.example", Roles: []string{"cloud-user"}},
		{Username: "bob", Name: "Bob", Email: "bob@sandbox.example", Roles: []string{"cloud-user", "cloud-provider"}},
		{Username: "olga", Name: "Olga", Email: "olga@sandbox.example", Roles: []string{"cloud-operator"}},
	}
}

// newcomer returns somebody who signs up: a cloud user. There is nothing to
// remember, for a name always stands for the same person.
func newcomer(name string) (Person, bool) {
	if len(name) == 0 || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return Person{}, false
	}
	return Person{Username: name, Name: name, Email: name + "@sandbox.example", Roles: []string{"cloud-user"}}, true
}

// find returns the person who has a username or a subject.
func find(name string) (Person, bool) {
	for _, p := range People() {
		if name == p.Username || name == p.Subject() {
			return p, true
		}
	}
	return Person{}, false
}
