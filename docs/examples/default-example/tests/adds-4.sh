test 4 -lt 9
