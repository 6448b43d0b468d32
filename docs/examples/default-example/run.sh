#!/bin/sh
# Runs the shell scripts whose names stand in a file, one a line, and writes JUnit XML.
# usage: run.sh TESTS_FILE RESULT_FILE
escaped() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g' | tr -d '\000-\010\013\014\016-\037'; }

{
    echo '<testsuite name="shell">'
    while IFS= read -r test; do
        output=$(sh "tests/$test" 2>&1 </dev/null)
        code=$?
        printf '<testcase name="%s">' "$(printf %s "$test" | escaped)"
        case $code in
            0) ;;
            77) printf '<skipped message="%s"/>' "$(printf %s "$output" | escaped)" ;;
            *) printf '<failure message="exit code %s">%s</failure>' "$code" "$(printf %s "$output" | escaped)" ;;
        esac
        echo '</testcase>'
    done <"$1"
    echo '</testsuite>'
} >"$2.part" && mv "$2.part" "$2"
