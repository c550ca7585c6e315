package view

import (
	"context"
	"testing"
)

// A destination tells how its connection stands, and one without any that there is none.
func TestDestinations_Connection(t *testing.T) {
	t.Parallel()
	h := openHouse(t, 2)
	h.exec(t, `
INSERT INTO destinations (tenant, name) SELECT t, n FROM unnest(ARRAY['kopi', 'teh']) AS t, unnest(ARRAY['books', 'plain', 'stock']) AS n;
INSERT INTO connections (tenant, destination, version, key_id, sealed, connected_by, connected_at, renewed_at)
SELECT tenant, id, 1, 'k', 'sealed', tenant || ' person', now(), now() FROM destinations WHERE name = 'books';
INSERT INTO connections (tenant, destination, problem, problem_at, revoked)
SELECT tenant, id, 'invalid_grant', now(), true FROM destinations WHERE name = 'stock'`)
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		all, err := tx.Destinations(ctx)
		if err != nil || len(all) != 3 {
			t.Fatalf("%d destinations, %v", len(all), err)
		}
		books, plain, stock := all[0].Connection, all[1].Connection, all[2].Connection
		if books == nil || !books.Connected || *books.ConnectedBy != "kopi person" || books.Revoked {
			t.Errorf("books: %+v", books)
		}
		if plain != nil {
			t.Errorf("plain: %+v", plain)
		}
		if stock == nil || stock.Connected || *stock.Problem != "invalid_grant" || !stock.Revoked {
			t.Errorf("stock: %+v", stock)
		}
		return nil
	})
}
