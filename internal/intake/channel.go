package intake

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Rule gives a channel to visits that match all of its patterns. A pattern is
// words with * for anything, several separated by |, the whole value, in any
// case; or a regular expression after ~.
type Rule struct {
	Channel  string `yaml:"channel"`
	Source   string `yaml:"source,omitempty"`
	Medium   string `yaml:"medium,omitempty"`
	Campaign string `yaml:"campaign,omitempty"`
	Referrer string `yaml:"referrer,omitempty"`
}

// defaultGrouping is the widely used default channel grouping, simplified.
//
//go:embed grouping.yaml
var defaultGrouping []byte

// origin is what is known of where a visit came from.
type origin struct{ source, medium, campaign, referrer string }

// channels finds channels, remembering those it found.
type channels struct {
	rules []compiled
	known map[origin]string
}

type compiled struct {
	channel  string
	patterns [4]*regexp.Regexp // nil for any
}

func newChannels(own []Rule, grouping string) (*channels, error) {
	rules := append([]Rule(nil), own...)
	if grouping != "none" {
		var ready []Rule
		if err := yaml.Unmarshal(defaultGrouping, &ready); err != nil {
			return nil, err
		}
		rules = append(rules, ready...)
	}
	c := &channels{known: map[origin]string{}}
	for i, r := range rules {
		if strings.TrimSpace(r.Channel) == "" {
			return nil, errkind.Inputf("mapping: rule %d of channels names no channel", i+1)
		}
		one := compiled{channel: r.Channel}
		for j, pattern := range []string{r.Source, r.Medium, r.Campaign, r.Referrer} {
			if pattern == "" {
				continue
			}
			expression := strings.TrimPrefix(pattern, "~")
			if expression == pattern {
				words := strings.Split(pattern, "|")
				for k, w := range words {
					words[k] = strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(w)), `\*`, `.*`)
				}
				expression = "^(" + strings.Join(words, "|") + ")$"
			}
			re, err := regexp.Compile("(?is)" + expression)
			if err != nil {
				return nil, errkind.Inputf("mapping: rule %d of channels: %q: %w", i+1, pattern, err)
			}
			one.patterns[j] = re
		}
		c.rules = append(c.rules, one)
	}
	return c, nil
}

// of returns the channel of an origin; it is not ok where no rule matches.
func (c *channels) of(o origin) (string, bool) {
	if name, known := c.known[o]; known {
		return name, true
	}
	values := [4]string{o.source, o.medium, o.campaign, o.referrer}
rules:
	for _, r := range c.rules {
		for i, p := range r.patterns {
			if p != nil && !p.MatchString(strings.TrimSpace(values[i])) {
				continue rules
			}
		}
		if len(c.known) < 1<<16 {
			c.known[o] = r.channel
		}
		return r.channel, true
	}
	return "", false
}

func (o origin) String() string {
	return fmt.Sprintf("source %q, medium %q, campaign %q, referrer %q", o.source, o.medium, o.campaign, o.referrer)
}
