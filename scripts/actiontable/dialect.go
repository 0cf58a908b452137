package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// row is one line of an actionTable.
type row struct {
	action, handled string
	test            string // of the function
	part            string // of the subtest, or empty
}

// dialect is what the tests of one package say.
type dialect struct {
	rows  []row
	decls map[string]*decl // of all test files, methods by their bare names
}

// decl is a declaration in a test file, or several of the same name.
type decl struct {
	isTest bool            // func TestXxx(*testing.T)
	uses   map[string]bool // identifiers
	texts  []string        // string literals
}

// tableName is the variable that holds the rows.
const tableName = "actionTable"

// read parses the test files in folder.
func read(folder string) (*dialect, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return nil, err
	}
	d := &dialect{decls: map[string]*decl{}}
	var faults []error
	for _, path := range paths {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, top := range file.Decls {
			switch top := top.(type) {
			case *ast.FuncDecl:
				one := d.add(top.Name.Name, top)
				one.isTest = one.isTest || top.Recv == nil && strings.HasPrefix(top.Name.Name, "Test") && len(top.Type.Params.List) == 1
			case *ast.GenDecl:
				for _, spec := range top.Specs {
					value, ok := spec.(*ast.ValueSpec)
					if !ok {
						continue
					}
					for i, name := range value.Names {
						if name.Name != tableName {
							d.add(name.Name, spec)
							continue
						}
						if i >= len(value.Values) {
							continue
						}
						rows, err := rowsOf(value.Values[i], files)
						d.rows = append(d.rows, rows...)
						faults = append(faults, err)
					}
				}
			}
		}
	}
	if len(d.rows) == 0 {
		faults = append(faults, fmt.Errorf("%s: expected a variable %s with rows in a test file", folder, tableName))
	}
	return d, errors.Join(faults...)
}

// add keeps what a declaration uses.
func (d *dialect) add(name string, node ast.Node) *decl {
	one := d.decls[name]
	if one == nil {
		one = &decl{uses: map[string]bool{}}
		d.decls[name] = one
	}
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			one.uses[n.Name] = true
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				one.texts = append(one.texts, text)
			}
		}
		return true
	})
	return one
}

// rowsOf reads the rows of the table: {"action", "handled", TestXxx, "part"}.
func rowsOf(value ast.Expr, files *token.FileSet) ([]row, error) {
	list, ok := value.(*ast.CompositeLit)
	if !ok {
		return nil, fmt.Errorf("%s: expected a list of rows", files.Position(value.Pos()))
	}
	var rows []row
	for _, e := range list.Elts {
		at := files.Position(e.Pos())
		line, ok := e.(*ast.CompositeLit)
		if !ok || len(line.Elts) != 4 {
			return nil, fmt.Errorf(`%s: expected {"action", "handled", TestXxx, "part"}`, at)
		}
		var r row
		var err error
		for i, to := range []*string{&r.action, &r.handled, &r.test, &r.part} {
			if *to, err = word(line.Elts[i], i == 2); err != nil {
				return nil, fmt.Errorf("%s: column %d: %w", at, i+1, err)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// word returns the text of a string, or of the constant of an action, or the
// name of a function.
func word(e ast.Expr, function bool) (string, error) {
	switch e := e.(type) {
	case *ast.Ident:
		if function {
			return e.Name, nil
		}
	case *ast.SelectorExpr:
		if name, ok := strings.CutPrefix(e.Sel.Name, "Action"); ok && !function {
			return name, nil
		}
	case *ast.BinaryExpr:
		left, err := word(e.X, function)
		right, err2 := word(e.Y, function)
		return left + right, errors.Join(err, err2)
	case *ast.BasicLit:
		if e.Kind == token.STRING && !function {
			return strconv.Unquote(e.Value)
		}
	}
	if function {
		return "", errors.New("expected the name of a test of the package")
	}
	return "", errors.New("expected a text")
}

// check compares the rows with the actions of the version, and with the tests
// they name.
func (d *dialect) check(actions []action) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	times := map[string]int{}
	for _, r := range d.rows {
		times[r.action]++
		if !slices.ContainsFunc(actions, func(a action) bool { return a.name == r.action }) {
			fault("%s: the version has no such action", r.action)
			continue
		}
		if strings.TrimSpace(r.handled) == "" || strings.ContainsAny(r.handled, "|\n") {
			fault("%s: expected a sentence without bars that tells how it is handled, got %q", r.action, r.handled)
		}
		if one := d.decls[r.test]; one == nil || !one.isTest {
			fault("%s: %s is no test of the package", r.action, r.test)
			continue
		}
		uses, texts := d.closure(r.test)
		all := uses["Actions"] // it goes through the list of the version
		if !all && !uses["Action"+r.action] && !uses[r.action+"Request"] && !speaks(texts, r.action) {
			fault("%s: nothing in %s speaks of it", r.action, r.test)
		}
		if r.part != "" && !(all && r.part == r.action) && !slices.Contains(texts, r.part) {
			fault("%s: %s has no part %q", r.action, r.test, r.part)
		}
	}
	for _, a := range actions {
		if n := times[a.name]; n != 1 {
			fault("%s: expected one row, got %d", a.name, n)
		}
	}
	return faults
}

// closure returns what a declaration uses and the texts it has, together with
// those of all that it uses in the test files.
func (d *dialect) closure(name string) (uses map[string]bool, texts []string) {
	uses = map[string]bool{}
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		one := d.decls[name]
		if one == nil || done[name] {
			return
		}
		done[name] = true
		texts = append(texts, one.texts...)
		for used := range one.uses {
			uses[used] = true
			visit(used)
		}
	}
	visit(name)
	return uses, texts
}

// speaks tells whether one of texts has a word.
func speaks(texts []string, word string) bool {
	pattern := regexp.MustCompile(`(^|[^A-Za-z0-9])` + word + `($|[^A-Za-z0-9])`)
	return slices.ContainsFunc(texts, pattern.MatchString)
}
