test 7 -lt 9
