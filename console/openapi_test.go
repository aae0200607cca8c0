package console

import (
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// The description is valid OpenAPI 3.1, and has what there is and nothing else.
func TestDescriptionIsThatOfTheRoutes(t *testing.T) {
	t.Parallel()
	doc, err := libopenapi.NewDocument(openAPI)
	require.NoError(t, err)
	require.Equal(t, "3.1.0", doc.GetVersion())
	v, errs := validator.NewValidator(doc)
	require.Empty(t, errs)
	valid, wrong := v.ValidateDocument()
	for _, w := range wrong {
		t.Log(w.Message, w.Reason)
	}
	require.True(t, valid)
	model, err := doc.BuildV3Model()
	require.NoError(t, err)
	var described []string
	takes := map[string][]string{}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			described = append(described, strings.ToUpper(method)+" "+path)
			require.NotEmpty(t, op.OperationId, path)
			require.NotEmpty(t, op.Summary, path)
			require.NotEmpty(t, op.Tags, path)
			require.NotNil(t, op.Responses.Default, "%s %s: what errors are", method, path)
			names := map[string]bool{}
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				require.NotEmpty(t, p.Description, "%s %s", path, p.Name)
				names[p.In+" "+p.Name] = true
				if p.In == "query" {
					takes[strings.ToUpper(method)+" "+path] = append(takes[strings.ToUpper(method)+" "+path], p.Name)
				}
			}
			for _, part := range strings.Split(path, "/") {
				if name, is := strings.CutPrefix(part, "{"); is {
					require.True(t, names["path "+strings.TrimSuffix(name, "}")], "%s: %s", path, part)
				}
			}
		}
	}
	var routed []string
	for _, r := range (&console{}).apiRoutes() {
		routed = append(routed, r.method+" "+r.path)
		require.ElementsMatch(t, r.takes, takes[r.method+" "+r.path], "%s %s", r.method, r.path)
	}
	require.ElementsMatch(t, routed, described)

	var codes []string
	problem, _ := model.Model.Components.Schemas.Get("Problem")
	code, _ := problem.Schema().Properties.Get("code")
	for _, n := range code.Schema().Enum {
		codes = append(codes, n.Value)
	}
	want := []string{errkind.CodeRun, errkind.CodePaused}
	for c := range statuses {
		want = append(want, c)
	}
	require.ElementsMatch(t, want, codes)
}
