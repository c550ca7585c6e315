package outbox

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// pipeline sends COPYs and the statements behind them without waiting for an answer in
// between, so that a transaction takes one round trip, which is most of what a small one
// costs. Postgres reads the rows of a COPY that has failed, drops them, and fails what
// follows in the transaction (PostgreSQL's documentation, "COPY Operations"); its answers
// are few and short, so neither side waits for the other to read.
type pipeline struct {
	conn   *pgconn.PgConn
	rows   *binaryRows // messages, as they go over the wire
	copied int         // where the message of rows begins that is not complete
	open   int         // answers to come, each up to ReadyForQuery
	err    error       // of writing; the session is over
}

// copyChunk is about how many bytes of rows are a message: enough that its cost is spread,
// and few enough to stay in the processor's caches at both ends.
const copyChunk = 64 << 10

// pipelined sends what f says, and reads the answers. It returns the tag of the last
// command that was complete. Where err is of Postgres, the session is as it says, and a
// transaction that was begun has failed; after any other the session is over.
func pipelined(ctx context.Context, conn *pgconn.PgConn, rows *binaryRows, f func(*pipeline) error) (tag string, err error) {
	p := &pipeline{conn: conn, rows: rows}
	rows.bytes = rows.bytes[:0]
	// Writing knows no context. Whoever is stopped gives the session up.
	stop := context.AfterFunc(ctx, func() { _ = conn.Conn().SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := f(p); err != nil {
		return "", err
	}
	if p.flush(); p.err != nil {
		return "", p.err
	}
	var refused error // the first: others come of it
	for p.open > 0 {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return "", err // the session is over, whatever it refused before
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			if refused == nil {
				refused = pgconn.ErrorResponseToPgError(m)
			}
		case *pgproto3.CommandComplete:
			tag = string(m.CommandTag)
		case *pgproto3.ReadyForQuery:
			p.open--
		}
	}
	return tag, refused
}

// copy begins a COPY from standard input in the binary format.
func (p *pipeline) copy(sql string) {
	p.send(&pgproto3.Query{String: sql})
	p.open++
	p.beginChunk()
	p.rows.header()
}

// row says that a row is complete.
func (p *pipeline) row() {
	if len(p.rows.bytes)-p.copied >= copyChunk {
		p.endChunk()
		p.flush()
		p.beginChunk()
	}
}

// done ends a COPY.
func (p *pipeline) done() {
	p.rows.trailer()
	p.endChunk()
	p.send(&pgproto3.CopyDone{})
}

// beginChunk begins a message of rows: CopyData, its length to be filled in.
func (p *pipeline) beginChunk() {
	p.copied = len(p.rows.bytes)
	p.rows.bytes = append(p.rows.bytes, 'd', 0, 0, 0, 0)
}

func (p *pipeline) endChunk() {
	length := len(p.rows.bytes) - p.copied - 1 // it counts itself
	binary.BigEndian.PutUint32(p.rows.bytes[p.copied+1:], uint32(length))
}

// execute runs a prepared statement, its arguments in the binary format.
func (p *pipeline) execute(name string, arguments ...[]byte) {
	p.send(&pgproto3.Bind{PreparedStatement: name, ParameterFormatCodes: []int16{pgproto3.BinaryFormat}, Parameters: arguments})
	p.send(&pgproto3.Execute{})
}

// sync ends a number of executions: one that fails has the others behind it, up to here,
// left out.
func (p *pipeline) sync() {
	p.send(&pgproto3.Sync{})
	p.open++
}

func (p *pipeline) send(m pgproto3.FrontendMessage) {
	bytes, err := m.Encode(p.rows.bytes)
	if err != nil {
		p.err = err
		return
	}
	p.rows.bytes = bytes
}

func (p *pipeline) flush() {
	if p.err != nil {
		return
	}
	_, p.err = p.conn.Conn().Write(p.rows.bytes)
	p.rows.bytes = p.rows.bytes[:0]
}
