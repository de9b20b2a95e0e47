# SPDX-License-Identifier: Apache-2.0
# Lists the targets of a Makefile that have comments of two hashes above them, with these.
/^## / { text = text (text == "" ? "" : "\n" sprintf("%-20s", "")) substr($0, 4); next }
/^[a-z][a-z-]*:/ {
    name = $1
    sub(/:.*/, "", name)
    if (text != "") printf "%-20s%s\n", name, text
}
!/^[A-Z_]+ *[:?]?=/ { text = "" }
