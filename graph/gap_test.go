package graph

import "testing"

// What a mapping table lacks is said with the command that closes the gap, of the
// exception and of each delivery that hangs on it.
func TestQuery_ShowsWhatAMappingLacks(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 2, "books")
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, looked_up, sample, held)
		SELECT 'kopi', 'SKU_UNMAPPED', $1, 'look-up', 'sku', v, v, 'nothing for ' || v, 2 FROM unnest(ARRAY['TEA', 'ICE 2']) v`, h.destinations["books"])
	h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT x.id, d.lane, d.destination, d.seq, d.tenant FROM deliveries d, exceptions x`)
	h.exec(t, `UPDATE deliveries SET state = 2, exception = (SELECT min(id) FROM exceptions)`)
	type gap struct{ Table, Value string }
	var got struct {
		Exceptions struct {
			Nodes []struct {
				Code      string
				HeldCount int
				Command   string
				Gap       *gap
			}
		}
		Deliveries struct {
			Nodes []struct {
				Exception  struct{ Code string }
				Exceptions []struct {
					Code string
					Gap  *gap
				}
			}
		}
	}
	h.get(t, "kopi", `query Gaps {
		exceptions(filter: {open: true}, first: 10) { nodes { code heldCount command gap { table value } } }
		deliveries(filter: {state: NEEDS_ACTION}, first: 10) { nodes { exception { code } exceptions { code gap { table value } } } }
	}`, nil, &got)
	if x := got.Exceptions.Nodes; len(x) != 2 || x[0].Code != "ICE 2" || *x[0].Gap != (gap{"sku", "ICE 2"}) || x[0].Command != "raffsync mappings set books sku 'ICE 2=TARGET' --reason WHY" {
		t.Errorf("exceptions %+v", x)
	}
	if d := got.Deliveries.Nodes; len(d) != 2 || d[0].Exception.Code != "TEA" || len(d[0].Exceptions) != 2 || d[0].Exceptions[1].Gap.Value != "ICE 2" {
		t.Errorf("deliveries %+v", d)
	}
}
