// Command json encodes and decodes what services send each other.
package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
)

type ship struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Load  []float64         `json:"load"`
	Ports map[string]string `json:"ports"`
	Sails bool              `json:"sails,omitempty"`
}

func main() {
	var fleet []ship
	for i := range 1200 {
		fleet = append(fleet, ship{i, fmt.Sprintf("dhow %d", i*7919%1201), []float64{float64(i) / 4, 2.5}, map[string]string{"home": "Sur", "next": "Aden"}, i%3 == 0})
	}
	var text []byte
	for range 8 {
		var err error
		if text, err = json.Marshal(fleet); err != nil {
			panic(err)
		}
		fleet = nil
		if err := json.Unmarshal(text, &fleet); err != nil {
			panic(err)
		}
	}
	fmt.Println(len(text), crc32.ChecksumIEEE(text))
}
