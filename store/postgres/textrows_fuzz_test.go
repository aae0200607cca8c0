package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// answered starts a server that lets anybody in, says what it is told to say and
// hangs up. It returns its address.
func answered(t *testing.T, says []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := make(chan struct{})
	t.Cleanup(func() { require.NoError(t, listener.Close()); <-gone })
	go func() {
		defer close(gone)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // whatever becomes of the client
		server := pgproto3.NewBackend(conn, conn)
		if _, err := server.ReceiveStartupMessage(); err != nil {
			return
		}
		server.Send(&pgproto3.AuthenticationOk{})
		server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if server.Flush() != nil {
			return
		}
		if _, err := conn.Write(says); err != nil {
			return
		}
		if half, ok := conn.(*net.TCPConn); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	return "postgres://somebody@" + listener.Addr().String() + "/shop?sslmode=disable"
}

// said is what a server says of rows with these columns, in its words.
func said(tb testing.TB, columns []string, rows ...[][]byte) []byte {
	tb.Helper()
	var into bytes.Buffer
	fields := &pgproto3.RowDescription{}
	for _, c := range columns {
		fields.Fields = append(fields.Fields, pgproto3.FieldDescription{Name: []byte(c), DataTypeOID: 25})
	}
	all := []pgproto3.BackendMessage{&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{}, fields, &pgproto3.ReadyForQuery{TxStatus: 'I'}, &pgproto3.BindComplete{}, fields}
	for _, r := range rows {
		all = append(all, &pgproto3.DataRow{Values: r})
	}
	all = append(all, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for _, m := range all {
		b, err := m.Encode(nil)
		require.NoError(tb, err)
		into.Write(b)
	}
	return into.Bytes()
}

// FuzzRowsOfAnyServer reads whatever a server says: rows have as many values as
// there are columns, or an error says what is wrong.
func FuzzRowsOfAnyServer(f *testing.F) {
	f.Add(said(f, []string{"id", "at"}, [][]byte{[]byte("1"), nil}, [][]byte{[]byte("2"), []byte("Ä")}))
	f.Add(said(f, []string{"id"}, [][]byte{[]byte("1"), []byte("2")}))
	f.Add(said(f, []string{"id", "at"}, [][]byte{[]byte("1")}))
	f.Add(said(f, nil))
	f.Add([]byte("E\x00\x00\x00\x10SERROR\x00C42P01\x00"))
	f.Add([]byte("D\x7f\xff\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, says []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		rows, err := Rows(ctx, answered(t, says), "visits")
		if rows != nil {
			defer rows.Close() // before the server is waited for
		}
		for n := 0; err == nil && n < 1000; n++ {
			var row []string
			if row, err = rows.Next(); err == nil {
				require.Len(t, row, len(rows.Columns()))
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			require.Contains(t, []errkind.Kind{errkind.Input, errkind.Environment}, errkind.KindOf(err), "%v", err)
		}
	})
}

// FuzzValuesOfServers reads the values of any row as they were sent.
func FuzzValuesOfServers(f *testing.F) {
	f.Add("id", []byte("1"), []byte(nil))
	f.Add(`Odd "name`, []byte("\xff"), []byte("x"))
	f.Fuzz(func(t *testing.T, name string, one, other []byte) {
		if bytes.ContainsRune([]byte(name), 0) {
			t.Skip("names end there")
		}
		rows, err := Rows(t.Context(), answered(t, said(t, []string{name, "other"}, [][]byte{one, other}, [][]byte{nil, one})), "visits")
		require.NoError(t, err)
		defer rows.Close() // before the server is waited for
		require.Equal(t, []string{name, "other"}, rows.Columns())
		for _, want := range [][]string{{string(one), string(other)}, {"", string(one)}} {
			row, err := rows.Next()
			require.NoError(t, err)
			require.Equal(t, want, row)
		}
		_, err = rows.Next()
		require.ErrorIs(t, err, io.EOF)
	})
}
