import os,sys
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import json,tempfile,time
from pathlib import Path
from fuzz import run_fuzz
from readers import READERS
n=int(sys.argv[1]); seed=int(sys.argv[2]); only=sys.argv[3:] or list(READERS)
for name in only:
    with tempfile.TemporaryDirectory() as room:
        t=time.time(); r=run_fuzz(name,n,seed,Path(room)); told=r.pop("told")
        print(name, r, round(time.time()-t,1)); [print("   ",x) for x in told]
