echo "no such device here"
exit 77
