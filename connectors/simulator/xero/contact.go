package xero

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// contactOf finds a contact by its id, its number, or its name, and makes one of a name
// that is new, as the platform does; empty where there is none.
func (s *Simulator) contactOf(id, number, name string) string {
	if id != "" {
		return s.contacts[id].ID
	}
	for _, known := range slices.Sorted(maps.Keys(s.contacts)) {
		if c := s.contacts[known]; number != "" && c.Number == number || number == "" && name != "" && strings.EqualFold(c.Name, name) {
			return c.ID
		}
	}
	if name == "" {
		return ""
	}
	made := Contact{ID: newID(), Number: number, Name: name}
	s.contacts[made.ID] = made
	return made.ID
}

// actOnContacts finds and makes contacts.
func (s *Simulator) actOnContacts(r *http.Request, path []string, body []byte) reply {
	show := func(c Contact) map[string]any {
		return map[string]any{"ContactID": c.ID, "ContactNumber": c.Number, "Name": c.Name, "ContactStatus": "ACTIVE"}
	}
	found := []any{}
	switch {
	case r.Method == http.MethodGet && len(path) == 2:
		c, known := s.contacts[path[1]]
		if !known {
			return reply{http.StatusNotFound, map[string]any{"Title": "NotFound", "Status": 404}}
		}
		found = append(found, show(c))
	case r.Method == http.MethodGet:
		where := r.URL.Query().Get("where")
		for _, id := range slices.Sorted(maps.Keys(s.contacts)) {
			c := s.contacts[id]
			if where == "" || where == fmt.Sprintf("ContactNumber==%q", c.Number) || where == fmt.Sprintf("Name==%q", c.Name) {
				found = append(found, show(c))
			}
		}
	default:
		var given struct {
			Contacts []struct{ ContactID, ContactNumber, Name string }
		}
		if err := json.Unmarshal(body, &given); err != nil || len(given.Contacts) == 0 {
			return reply{http.StatusBadRequest, map[string]any{"ErrorNumber": 17, "Type": "PostDataInvalidException", "Message": "The post data is not valid"}}
		}
		for _, in := range given.Contacts {
			if in.Name == "" {
				return reply{http.StatusBadRequest, map[string]any{
					"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation exception occurred",
					"Elements": []any{map[string]any{"ValidationErrors": []any{map[string]any{"Message": "The contact name must be specified"}}}},
				}}
			}
			found = append(found, show(s.contacts[s.contactOf(in.ContactID, in.ContactNumber, in.Name)]))
		}
	}
	return reply{http.StatusOK, map[string]any{"Status": "OK", "Contacts": found}}
}

// Contacts of the organisation, by id.
func (s *Simulator) Contacts() []Contact {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Contact
	for _, id := range slices.Sorted(maps.Keys(s.contacts)) {
		all = append(all, s.contacts[id])
	}
	return all
}
