echo "expected 4, got 5"
exit 1
