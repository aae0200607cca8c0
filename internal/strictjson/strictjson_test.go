package strictjson

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestObjectSaysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		``:                      "not JSON: it ends too early",
		`{"name":"x"`:           "not JSON: it ends too early",
		`{"name":"x",}`:         "not JSON: byte 13: invalid character '}'",
		`{"name" "x"}`:          "not JSON: byte 9: invalid character '\"' after object key",
		`{"name":"x"} {}`:       "something follows the closing }",
		`["name"]`:              "want an object {…}, have [\"name\"]",
		`{"name":"x","name":1}`: `"name" is given twice`,
		`{"Name":"x"}`:          `unknown field "Name"; known are name, size`,
		`{"size":1}`:            `field "name" is missing`,
		`{"name":null}`:         "name: is null",
		`{"name":[1]}`:          "name: a array where a value of another type belongs ([1])",
		"{\"name\":\"\xff\"}":   "not UTF-8 text",
		`{"name":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`: "not JSON: byte 10008: invalid character '[' exceeded max depth",
	} {
		var name string
		var size int
		err := Object([]byte(text), Field{Name: "name", Into: &name}, Field{Name: "size", Into: &size, Optional: true})
		require.ErrorContains(t, err, says, "%.100s", text)
		require.NotContains(t, err.Error(), "\n")
	}
	var name string
	require.NoError(t, Object([]byte(` { "name" : "x" } `), Field{Name: "name", Into: &name}))
	require.Equal(t, "x", name)
}

func TestBrief(t *testing.T) {
	t.Parallel()
	require.Equal(t, "nothing", Brief(nil))
	require.Equal(t, "a b", Brief([]byte(" a\n\tb ")))
	require.Equal(t, strings.Repeat("ü", 20)+"…", Brief([]byte(strings.Repeat("ü", 30))))
	require.Equal(t, "x"+strings.Repeat("ü", 19)+"…", Brief([]byte("x"+strings.Repeat("ü", 30))))
}

// FuzzMembers: what is taken is a JSON object whose names are all different,
// and what is refused is said in one line.
func FuzzMembers(f *testing.F) {
	for _, text := range []string{`{"a":1,"b":[{}]}`, `{"a":1,"a":2}`, `{"a"`, `[]`, `{} {}`, `{"a":NaN}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := Members(data)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "%!")
			return
		}
		var object map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data, &object))
		require.Len(t, members, len(object))
		for _, m := range members {
			require.Equal(t, object[m.Name], m.Value)
		}
	})
}
