package outbox

import "maps"

// MappingEntry is what a look-up found.
type MappingEntry struct {
	Target string
	// Version of the tenant's mappings that made the entry what it is.
	Version int64
	// Shared: it is not the destination's own. Default: the value has no entry.
	Shared, Default bool
}

// MappingSnapshot is a tenant's mapping tables at one version. It never changes.
type MappingSnapshot struct {
	version int64
	tables  map[mappingTable]mappingLayers
}

// mappingTable is a table of a destination, or one that all of them share.
type mappingTable struct {
	name        string
	destination int32 // 0: shared
}

// mapped is an entry; one without a target is none any more.
type mapped struct {
	target  string
	version int64
}

// mappingLayers are a table's entries by value, where "" is the default. A small change
// of a large table copies newer only; base is never written to.
type mappingLayers struct {
	base, newer map[string]mapped
}

func (l mappingLayers) at(value string) (mapped, bool) {
	e, ok := l.newer[value]
	if !ok {
		e = l.base[value]
	}
	return e, e.target != ""
}

// with is these layers after changes.
func (l mappingLayers) with(changes map[string]mapped) mappingLayers {
	if len(l.base) == 0 && len(l.newer) == 0 {
		maps.DeleteFunc(changes, func(_ string, e mapped) bool { return e.target == "" })
		return mappingLayers{base: changes}
	}
	newer := make(map[string]mapped, len(l.newer)+len(changes))
	maps.Copy(newer, l.newer)
	maps.Copy(newer, changes)
	if len(newer) <= max(1_000, len(l.base)/8) {
		return mappingLayers{l.base, newer}
	}
	base := maps.Clone(l.base)
	maps.Copy(base, newer)
	maps.DeleteFunc(base, func(_ string, e mapped) bool { return e.target == "" })
	return mappingLayers{base: base}
}

// with is this snapshot after changes, at a version. It takes the changes over.
func (s *MappingSnapshot) with(version int64, changes map[mappingTable]map[string]mapped) *MappingSnapshot {
	next := &MappingSnapshot{version: version, tables: make(map[mappingTable]mappingLayers, len(s.tables)+len(changes))}
	maps.Copy(next.tables, s.tables)
	for table, changed := range changes {
		next.tables[table] = s.tables[table].with(changed)
	}
	return next
}

// Version of the tenant's mappings; 0 where there never were any. It rises by one with
// each change.
func (s *MappingSnapshot) Version() int64 { return s.version }

// Lookup finds what a value is called at a destination: its own entry, else the shared
// one, else its own default, else the shared default. Values are compared byte by byte;
// an empty one has no entry, but gets the defaults.
func (s *MappingSnapshot) Lookup(destination int32, table, value string) (MappingEntry, bool) {
	own, shared := s.tables[mappingTable{table, destination}], s.tables[mappingTable{table, 0}]
	if value != "" {
		if e, ok := own.at(value); ok {
			return MappingEntry{Target: e.target, Version: e.version}, true
		}
		if e, ok := shared.at(value); ok {
			return MappingEntry{Target: e.target, Version: e.version, Shared: true}, true
		}
	}
	if e, ok := own.at(""); ok {
		return MappingEntry{Target: e.target, Version: e.version, Default: true}, true
	}
	e, ok := shared.at("")
	return MappingEntry{Target: e.target, Version: e.version, Shared: true, Default: ok}, ok
}
