// Command template renders a page: reflection, maps and interfaces.
package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"text/template"
)

const page = `{{range $i, $s := .}}{{if $s.Sails}}<li class="{{$i}}">{{printf "%05d %s" $s.ID $s.Name}}</li>
{{else}}<p>{{$s.Name | len}}{{end}}{{end}}`

type ship struct {
	ID    int
	Name  string
	Sails bool
}

func main() {
	t := template.Must(template.New("page").Parse(page))
	var fleet []ship
	for i := range 500 {
		fleet = append(fleet, ship{i, fmt.Sprintf("dhow %d", i*7919%501), i%3 == 0})
	}
	var out bytes.Buffer
	for range 30 {
		out.Reset()
		if err := t.Execute(&out, fleet); err != nil {
			panic(err)
		}
	}
	fmt.Println(out.Len(), crc32.ChecksumIEEE(out.Bytes()))
}
