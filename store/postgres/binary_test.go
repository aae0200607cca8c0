package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestArraysAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts, numbers := rapid.SliceOf(rapid.String()).Draw(t, "texts"), rapid.SliceOf(rapid.Int32()).Draw(t, "numbers")
		array := addArray([]byte("before"), textType, texts, addText[string])[len("before"):]
		require.EqualValues(t, len(array)-4, integer(array[:4]))
		var read []string
		require.True(t, elements(array[4:], func(text []byte) { read = append(read, string(text)) }))
		require.ElementsMatch(t, texts, read)

		array = addArray(nil, integerType, numbers, addInteger)[4:]
		var n []int32
		require.True(t, elements(array, func(number []byte) { n = append(n, int32(integer(number))) }))
		require.ElementsMatch(t, numbers, n)
	})
}

// What a database sends that was damaged, or is no array, is told and no more.
func FuzzArrays(f *testing.F) {
	f.Add(addArray(nil, textType, []string{"a", "bc"}, addText[string])[4:])
	f.Add(addArray(nil, integerType, []int32{1, -2}, addInteger)[4:])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, array []byte) {
		held := 0
		elements(array, func(element []byte) { held += len(element) + 4 })
		require.LessOrEqual(t, held, len(array))
	})
}
