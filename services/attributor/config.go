package attributor

import (
	"os"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/run"
)

// Config is the attributor's environment.
type Config struct {
	APIKey     Secret        `envconfig:"IHC_API_KEY" desc:"key of the IHC API; without one, the built-in model scores"`
	APIKeyFile string        `envconfig:"IHC_API_KEY_FILE" desc:"path of a file with the key, in place of IHC_API_KEY"`
	APIURL     string        `envconfig:"IHC_API_URL" default:"https://api.ihc-attribution.com/v1" desc:"base URL of the IHC API"`
	ConvTypeID string        `envconfig:"IHC_CONV_TYPE_ID" desc:"trained conversion type, for runs that name none"`
	Model      string        `envconfig:"IHC_MODEL" desc:"api or builtin, for runs that name none; default api with a key, builtin without"`
	Workers    int           `envconfig:"IHC_CONCURRENCY" default:"4" desc:"chunks scored at once"`
	Rate       float64       `envconfig:"IHC_REQUEST_RATE" default:"0" desc:"most requests a second; 0 sets no bound"`
	Timeout    time.Duration `envconfig:"IHC_API_TIMEOUT" default:"60s" desc:"how long one request may take"`
	Payloads   string        `envconfig:"IHC_PAYLOADS" desc:"directory to save each request's body in"`
	Sandbox    string        `envconfig:"IHC_SANDBOX_URL_FILE" desc:"file that holds the URL of an API sandbox while one runs, which then takes the API's place"`
	Params     string        `envconfig:"IHC_MODEL_PARAMS" desc:"file with the built-in model's parameters, for runs that bring none"`
}

// Secret is a text that shows itself nowhere by accident.
type Secret string

// String hides the text from formatting and logs.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Load reads the key from its file, where that is named and the key itself is
// not. A file that cannot be read is an environment fault, an empty one an
// input fault. What the file holds is in no error.
func (c *Config) Load() error {
	if c.APIKey != "" || c.APIKeyFile == "" {
		return nil
	}
	data, err := os.ReadFile(c.APIKeyFile)
	if err != nil {
		return errkind.Environmentf("IHC_API_KEY_FILE: %w", err)
	}
	if c.APIKey = Secret(strings.TrimSpace(string(data))); c.APIKey == "" {
		return errkind.Inputf("IHC_API_KEY_FILE: %s is empty; put the key in it", c.APIKeyFile)
	}
	return nil
}

// Validate returns an input fault that names the variable that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1 || c.Workers > 1000:
		return errkind.Inputf("IHC_CONCURRENCY is %d: use a number from 1 to 1000", c.Workers)
	case !(c.Rate >= 0): // NaN is neither
		return errkind.Inputf("IHC_REQUEST_RATE is %v: it cannot be negative", c.Rate)
	case c.Timeout <= 0:
		return errkind.Inputf("IHC_API_TIMEOUT is %s: it must be longer than 0s", c.Timeout)
	case c.Model != "" && c.Model != run.ModelAPI && c.Model != run.ModelBuiltin:
		return errkind.Inputf("IHC_MODEL is %q: use %s or %s", c.Model, run.ModelAPI, run.ModelBuiltin)
	case c.Model == run.ModelAPI && c.APIKey == "":
		return errkind.Inputf("IHC_MODEL is api but IHC_API_KEY is not set, nor is IHC_API_KEY_FILE")
	}
	return nil
}

// DefaultModel returns what scores runs that name no model: what is set, or
// the API where there is a key, or the built-in model.
func (c Config) DefaultModel() string {
	switch {
	case c.Model != "":
		return c.Model
	case c.APIKey != "":
		return run.ModelAPI
	default:
		return run.ModelBuiltin
	}
}

// ModelParams returns the parameters the built-in model scores a run with:
// those the run brings as a JSON text, or those of the file that is set, or
// the default ones.
func (c Config) ModelParams(text string) (*ihcmodel.Params, error) {
	from := "of the run"
	switch {
	case text == "" && c.Params == "":
		return ihcmodel.DefaultParams(), nil
	case text == "":
		data, err := os.ReadFile(c.Params)
		if err != nil {
			return nil, errkind.Environmentf("IHC_MODEL_PARAMS: %w", err)
		}
		from, text = c.Params, string(data)
	}
	p, err := ihcmodel.ParseParams([]byte(text))
	if err != nil {
		return nil, errkind.Inputf("model parameters %s: %w", from, err)
	}
	return p, nil
}
