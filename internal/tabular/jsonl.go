package tabular

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// jsonRows reads a JSON object a line. Its columns are those of the first
// objects, inner ones by their path, such as geo.country.
type jsonRows struct {
	text    *bufio.Reader
	columns []string
	index   map[string]int
	values  []string
	read    int64 // lines
	line    int64
	ahead   []lineOf
	assumed string
	close   func() error
}

type lineOf struct {
	number int64
	text   []byte
}

// lookedAt is how many objects tell the columns: what no one of them has is not there.
const lookedAt = 1000

func openJSON(r io.Reader, o Options, closing func() error) (Rows, error) {
	text, enc, err := decoded(r, o.Encoding)
	if err != nil {
		return nil, err
	}
	j := &jsonRows{text: text, index: map[string]int{}, close: closing, assumed: "JSON lines, " + enc}
	for size := 0; len(j.ahead) < lookedAt && size < longestRow; {
		line, err := j.readLine()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		size += len(line)
		j.ahead = append(j.ahead, lineOf{j.read, bytes.Clone(line)})
		_ = flatten(line, func(name, _ string) {
			if _, known := j.index[name]; !known {
				j.index[name] = len(j.columns)
				j.columns = append(j.columns, name)
			}
		})
	}
	if len(j.columns) == 0 {
		how := ""
		if len(j.ahead) > 0 && j.ahead[0].text[0] == '[' {
			how = ", as jq -c '.[]' does of a list"
		}
		return nil, errkind.Inputf("no JSON object is in its first lines: write one object a line%s", how)
	}
	j.values = make([]string, len(j.columns))
	return j, nil
}

func (j *jsonRows) Columns() []string { return j.columns }
func (j *jsonRows) Line() int64       { return j.line }
func (j *jsonRows) Assumed() string   { return j.assumed }
func (j *jsonRows) Close() error      { return j.close() }

// readLine returns the next line that is not blank.
func (j *jsonRows) readLine() ([]byte, error) {
	for {
		var whole []byte
		for {
			part, err := j.text.ReadSlice('\n')
			whole = append(whole, part...)
			if len(whole) > longestRow {
				return nil, errkind.Inputf("line %d has more than %d MiB: is it JSON lines, one object a line?", j.read+1, longestRow>>20)
			}
			if err == nil || errors.Is(err, io.EOF) && len(whole) > 0 {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return nil, err
			}
		}
		j.read++
		if whole = bytes.TrimSpace(whole); len(whole) > 0 {
			return whole, nil
		}
	}
}

func (j *jsonRows) Next() ([]string, error) {
	var line []byte
	if len(j.ahead) > 0 {
		j.line, line = j.ahead[0].number, j.ahead[0].text
		j.ahead = j.ahead[1:]
	} else {
		var err error
		if line, err = j.readLine(); err != nil {
			return nil, err
		}
		j.line = j.read
	}
	clear(j.values)
	if !utf8.Valid(line) {
		return nil, &RowError{Line: j.line, Why: "no valid UTF-8; name the encoding of the file, such as --encoding windows-1252"}
	}
	err := flatten(line, func(name, value string) {
		if i, known := j.index[name]; known {
			j.values[i] = value
		}
	})
	if err != nil {
		return nil, &RowError{Line: j.line, Why: "no JSON object: " + err.Error()}
	}
	return j.values, nil
}

// flatten calls yield with the path and text of every value of an object, in
// the order of their names.
func flatten(line []byte, yield func(name, value string)) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var object map[string]any
	var other *json.UnmarshalTypeError
	if err := d.Decode(&object); errors.As(err, &other) {
		return errors.New("it is " + other.Value)
	} else if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one object is in the line")
	}
	if object == nil {
		return errors.New("null")
	}
	walk("", object, yield)
	return nil
}

func walk(prefix string, object map[string]any, yield func(name, value string)) {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		path := strings.TrimPrefix(prefix+"."+name, ".")
		switch v := object[name].(type) {
		case nil:
			yield(path, "")
		case string:
			yield(path, v)
		case json.Number:
			yield(path, v.String())
		case bool:
			yield(path, map[bool]string{true: "true", false: "false"}[v])
		case map[string]any:
			walk(path, v, yield)
		default: // a list is no value of a column
			text, _ := json.Marshal(v)
			yield(path, string(text))
		}
	}
}
