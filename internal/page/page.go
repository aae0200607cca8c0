// Package page writes web pages that stand alone: one file, nothing fetched, a
// content security policy by the hash of its one style sheet and its one script,
// readable without the script. It knows how things look and nothing of what they
// mean; all numbers come as text or in sheets.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the assets
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"html/template"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/sheet"
)

//go:embed assets/page.html
var pageHTML string

//go:embed assets/page.css
var style string

//go:embed assets/page.js
var script string

// Policy is the content security policy of every page: nothing is fetched, and
// no other style and script than the page's own is in force. A server sends it
// as a header as well, with frame-ancestors 'none', which a page cannot say of
// itself.
var Policy = "default-src 'none'; style-src '" + hash(style) + "'; script-src '" + hash(script) + "'; img-src data:; base-uri 'none'; form-action 'none'"

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Style and Script return what every page looks like and what it can do, for a
// server that sends them as files of their own.
func Style() string { return style }

// Script returns the script; see [Style].
func Script() string { return script }

// Page is a page with its sections in order.
type Page struct {
	Title, Lead string
	// Findings are what the page has to say, one sentence each.
	Findings []string
	// Facts are what the page is about.
	Facts    []Fact
	Sections []Section
	Footer   string
}

// Fact is a name and what there is to say of it.
type Fact struct{ Name, Text string }

// Section is a part of a page. What it has is shown in the order of the fields.
type Section struct {
	ID, Title, Lead string
	Proof           *Proof
	Cards           []Card
	Figures         []Figure
	Facts           []Fact
}

// Proof shows that nothing was lost on the way from the source.
type Proof struct {
	Lines []ProofLine
	// Verdict says in a sentence what the lines come to, Holds whether all is
	// well.
	Verdict string
	Holds   bool
}

// ProofLine is source = attributed + unattributed, of one thing that is counted.
type ProofLine struct {
	Name, Source, Attributed, Unattributed, Difference string
	// As says what the second term is: attributed.
	As string
	// Reasons say of what the unattributed part consists.
	Reasons []string
	Holds   bool
}

// Card is a headline number.
type Card struct {
	Name, Value string
	// Change is signed, Tone says whether it is "good", "bad" or neither; Against
	// is what it is a change from.
	Change, Tone, Against string
}

// Figure is a picture, or several that belong together, with the table behind
// it.
type Figure struct {
	ID, Title string
	// Finding says what is to be seen, in a sentence.
	Finding string
	Lines   []Panel
	Rows    *Rows
	Paths   []Path
	// Legend explains the marks.
	Legend []Key
	Note   string
	// Sheet is behind the picture. Open shows it, since there is no picture
	// that says the same.
	Sheet *sheet.Sheet
	Open  bool
	// Colours are the classes of the sheet's first column, by its text.
	Colours map[string]string
	// Immature says of the rows of the sheet that are not final how far they are,
	// by their first column.
	Immature map[string]string
	// Links are addresses for the cells of columns, by the column's name: the
	// cell's text is added to them.
	Links map[string]string
}

// Panel is a picture with its name and what it runs between.
type Panel struct {
	Name, Range string
	Picture     template.HTML
}

// Rows are pictures in rows that are aligned, one for each name.
type Rows struct {
	// Head names the columns of pictures.
	Head []string
	// Grid names the columns of a grid, which has as many rows: both are
	// numbered.
	Grid []string
	Rows []Row
	// Ends are what stands below the first and the last of a row: dates.
	Ends [2]string
}

// Row is a name with its pictures.
type Row struct {
	Name, Class string
	Cells       []Picture
}

// Picture is a picture and the number that it shows.
type Picture struct {
	Picture template.HTML
	Text    string
}

// Path is a way through channels.
type Path struct {
	Count, Share, Value string
	Steps               []Step
}

// Step is one step of a [Path].
type Step struct {
	Name, Class string
	// Times says how often in a row; Phases what the step did.
	Times, Phases string
	// Gap stands for steps that were left out.
	Gap bool
}

// Key explains a mark.
type Key struct{ Class, Text string }

// pageTemplate is executed, after which it cannot be cloned any more; parts is for
// that.
var pageTemplate = Parts()

var parts = template.Must(template.New("page").Funcs(template.FuncMap{
	"people": func(c sheet.Column, cell sheet.Cell) string { return c.Kind.People(cell) },
	"isText": func(c sheet.Column) bool { return c.Kind.IsText() },
	"why":    func(cell sheet.Cell) string { return cell.Why },
	"at":     func(cells []sheet.Cell, i int) sheet.Cell { return cells[i] },
	"csv": func(s *sheet.Sheet) (template.HTML, error) {
		var b strings.Builder
		err := s.CSV(&b)
		return template.HTML(markup.Replace(b.String())), err //nolint:gosec // it is escaped
	},
	"class":    func(f Figure, row []sheet.Cell) string { return f.Colours[row[0].Text] },
	"immature": func(f Figure, row []sheet.Cell) string { return f.Immature[row[0].Text] },
	"text":     Figure.text,
	"tidy":     tidy,
	"inc":      func(i int) int { return i + 1 },
	"name":     Name,
	"wide":     func(s *sheet.Sheet) bool { return len(s.Columns) > paperColumns },
}).Parse(pageHTML))

// markup is what means something between tags, and what a browser would not
// leave as it is. Quotes are not among it, of which a CSV is full.
var markup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;", "\x00", "\uFFFD")

// text returns a cell for people, with its link.
func (f Figure) text(c sheet.Column, cell sheet.Cell) template.HTML {
	shown := template.HTMLEscapeString(c.Kind.People(cell))
	if c.Kind == sheet.Text {
		shown = "<bdi>" + template.HTMLEscapeString(Name(cell.Text)) + "</bdi>"
	}
	if f.Links[c.Name] != "" && cell.Text != "" {
		shown = `<a href="` + template.HTMLEscapeString(f.Links[c.Name]+url.QueryEscape(cell.Text)) + `">` + shown + "</a>"
	}
	return template.HTML(shown) //nolint:gosec // it is escaped
}

// together is what no line should end in: a date and the word behind its comma, a number and its percent sign.
var together = regexp.MustCompile(`\d{4}-\d\d-\d\d(?:, \S{1,20})?|[\d.,]+ %`)

// tidy returns a sentence in which dates and percents are not broken in two.
func tidy(sentence string) template.HTML {
	return template.HTML(together.ReplaceAllString(template.HTMLEscapeString(sentence), `<span class="nb">$0</span>`)) //nolint:gosec // it is escaped
}

// paperColumns is how many columns of a table fit on paper.
const paperColumns = 10

// longestName is how many characters of a name are shown at once.
const longestName = 120

// Isolated returns a name to be put into a sentence, which it does not turn to
// its own direction of writing.
func Isolated(s string) string { return "\u2068" + Name(s) + "\u2069" }

// Name returns a name in a length that can be shown, of a longer one the beginning
// and the end, and a few letters that come of all of it: two different ones are never
// shown alike. Markup or [Isolated] keeps it from turning the direction of what is
// beside it.
func Name(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if s == "" {
		return "(no name)"
	}
	runes := []rune(s)
	if len(runes) <= longestName {
		return s
	}
	h := fnv.New32a()
	_, _ = io.WriteString(h, s)
	mark := fmt.Sprintf("…(~%08x)…", h.Sum32())
	end := longestName / 3
	return string(runes[:longestName+1-end-len([]rune(mark))]) + mark + string(runes[len(runes)-end:])
}

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, map[string]any{"Page": p, "Policy": Policy, "Style": template.CSS(style), "Script": template.JS(script)}) //nolint:gosec // the assets are this package's own
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// Content returns what the page says, without the document around it, for a page
// that has [Style] and [Script] already.
func (p *Page) Content() (template.HTML, error) {
	var b bytes.Buffer
	err := pageTemplate.ExecuteTemplate(&b, "content", p)
	return template.HTML(b.String()), err //nolint:gosec // the template has escaped it
}

// Parts returns the templates of the pieces, "facts", "proof", "figure" and
// "data", for templates of other pages to be added to.
func Parts() *template.Template { return template.Must(parts.Clone()) }
