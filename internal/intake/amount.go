package intake

import (
	"errors"
	"strings"

	"github.com/shopspring/decimal"
)

var (
	errAmount    = errors.New("no amount that can be read: write it like 1234.56, or say --decimal ,")
	errNoAmount  = errors.New("no amount is there: fill it in, or pass such rows over by skip_blank in the mapping")
	errAmbiguous = errors.New("a comma that may be a decimal or group thousands: say which, as in --decimal , (or a point)")
)

// amount reads an amount of money exactly. Mark is the decimal mark, "" where
// it is not known: then only what has one meaning is read.
func amount(s, mark string) (decimal.Decimal, error) {
	s = strings.TrimSpace(strings.Trim(strings.TrimSpace(s), "€$£¥\u00a0\u202f"))
	s = strings.NewReplacer("\u00a0", "", "\u202f", "", "'", "", "’", "").Replace(s)
	if s == "" {
		return decimal.Decimal{}, errNoAmount
	}
	digits, negative := strings.CutPrefix(strings.ReplaceAll(s, "−", "-"), "-")
	digits = strings.TrimLeft(digits, "€$£¥ ")
	switch mark {
	case "":
		if comma := strings.LastIndexByte(digits, ','); comma >= 0 {
			if strings.Contains(digits, ".") {
				mark = "."
				if comma > strings.LastIndexByte(digits, '.') {
					mark = ","
				}
				break
			}
			return decimal.Decimal{}, errAmbiguous
		}
		mark = "."
	case ".", ",":
	default:
		return decimal.Decimal{}, errors.New("--decimal is . or ,")
	}
	whole, fraction, broken := strings.Cut(digits, mark)
	group := map[string]string{".": ",", ",": "."}[mark]
	plain, ok := ungroup(whole, group)
	if !ok || broken && (fraction == "" && plain == "" || !digitsOrExponent(fraction)) || plain == "" && !broken {
		return decimal.Decimal{}, errAmount
	}
	text := "0" + plain
	if !broken && !digitsOrExponent(plain) || len(text)+len(fraction) > 60 {
		return decimal.Decimal{}, errAmount
	}
	if broken && fraction != "" {
		text += "." + fraction
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return d, errAmount
	}
	if negative {
		d = d.Neg()
	}
	return d, nil
}

// ungroup takes the marks of thousands out of a whole number.
func ungroup(s, group string) (string, bool) {
	parts := strings.Split(s, group)
	if len(parts) == 1 {
		parts = strings.Split(s, " ")
	}
	for i, p := range parts {
		if i > 0 && len(p) != 3 || i == 0 && len(parts) > 1 && (p == "" || len(p) > 3) {
			return "", false
		}
		for j := range len(p) {
			exponent := len(parts) == 1 && j > 0 && strings.IndexByte("eE+-", p[j]) >= 0
			if (p[j] < '0' || p[j] > '9') && !exponent {
				return "", false
			}
		}
	}
	return strings.Join(parts, ""), true
}

// digitsOrExponent says whether s is digits, with a small exponent if any.
func digitsOrExponent(s string) bool {
	head, exponent, has := strings.Cut(strings.ToLower(s), "e")
	exponent = strings.TrimLeft(exponent, "+-")
	return strings.Trim(head, "0123456789") == "" && (!has || len(exponent) > 0 && len(exponent) <= 2 && strings.Trim(exponent, "0123456789") == "")
}

var truths = map[string]bool{
	"1": true, "true": true, "yes": true, "y": true, "t": true, "ja": true, "j": true, "wahr": true, "x": true, "on": true, "oui": true, "si": true,
	"0": false, "false": false, "no": false, "n": false, "f": false, "nein": false, "falsch": false, "off": false, "": false, "non": false,
	"1.0": true, "0.0": false, "null": false, "(not set)": false,
}

// flag reads a word for yes or no, or a number against a threshold.
func flag(s string, atLeast *float64, mark string) (bool, error) {
	if atLeast != nil {
		if strings.TrimSpace(s) == "" {
			return false, nil
		}
		n, err := amount(s, mark)
		if err != nil {
			return false, errors.New("no number that can be compared with at_least")
		}
		return n.GreaterThanOrEqual(decimal.NewFromFloat(*atLeast)), nil
	}
	if len(s) == 1 && (s[0] == '0' || s[0] == '1') {
		return s[0] == '1', nil
	}
	yes, known := truths[strings.ToLower(strings.TrimSpace(s))]
	if !known {
		return false, errors.New("neither yes nor no: write 1 or 0, or give a threshold by at_least in the mapping")
	}
	return yes, nil
}
